"""Folders of Slicer's data tree (the subject hierarchy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

if TYPE_CHECKING:
    from collections.abc import Iterable


def add_to_folder(scene: Any, nodes: Iterable[Any], folder: int | str | None) -> int:
    """Put nodes into a folder of the data tree, given by item ID or as the name of a new folder; return its item ID.

    None is the top of the tree. Within Slicer the nodes are in the tree already and are moved; without, they are added.
    """
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if folder is None:
        parent = tree.GetSceneItemID()
    elif isinstance(folder, str):
        parent = tree.CreateFolderItem(tree.GetSceneItemID(), folder)
    else:
        parent = folder
    for node in nodes:
        item = tree.GetItemByDataNode(node)
        if item:
            tree.SetItemParent(item, parent)
        else:
            tree.CreateItem(parent, node)
    return int(parent)


def folder_of(scene: Any, node: Any) -> int | None:
    """Item ID of the folder that a node is in; None if it is not in the data tree."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node)
    return int(tree.GetItemParent(item)) if item else None
