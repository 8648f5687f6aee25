"""Folders of Slicer's data tree (the subject hierarchy), and removing nodes with all that hangs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

if TYPE_CHECKING:
    from collections.abc import Iterable

_OURS = "XVRegistration.Folder"


def add_to_folder(scene: Any, nodes: Iterable[Any], folder: int | str | None) -> int:
    """Put nodes into a folder of the data tree, given by item ID or as the name of a new folder; return its item ID.

    None is the top of the tree. Within Slicer the nodes are in the tree already and are moved; without, they are added.
    """
    tree = _tree(scene)
    if folder is None:
        parent = tree.GetSceneItemID()
    elif isinstance(folder, str):
        parent = tree.CreateFolderItem(tree.GetSceneItemID(), folder)
        tree.SetItemAttribute(parent, _OURS, "true")
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
    tree = _tree(scene)
    item = tree.GetItemByDataNode(node)
    return int(tree.GetItemParent(item)) if item else None


def remove_nodes(scene: Any, nodes: Iterable[Any]) -> None:
    """Remove nodes, their display and storage nodes and their items of the data tree; those that are gone are skipped."""
    tree = _tree(scene)
    for node in nodes:
        if node is None or node.GetScene() is not scene:
            continue
        hanging = hanging_on(node)
        item = tree.GetItemByDataNode(node)
        scene.RemoveNode(node)
        # Within Slicer some of these go by themselves.
        for other in hanging:
            if other.GetScene() is scene:
                scene.RemoveNode(other)
        if item and tree.GetItemParent(item):
            tree.RemoveItem(item, False, False)


def remove_folder_if_empty(scene: Any, folder: int) -> None:
    """Remove a folder that `add_to_folder` made, unless something is in it or it is gone already."""
    tree = _tree(scene)
    exists = folder and folder != tree.GetSceneItemID() and tree.GetItemParent(folder)
    if exists and tree.HasItemAttribute(folder, _OURS) and not tree.GetNumberOfItemChildren(folder):
        tree.RemoveItem(folder, False, False)


def hanging_on(node: Any) -> list[Any]:
    """The display nodes and the storage node of a node."""
    displayed, stored = node.IsA("vtkMRMLDisplayableNode"), node.IsA("vtkMRMLStorableNode")
    found = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())] if displayed else []
    found += [node.GetStorageNode()] if stored else []
    return [other for other in found if other is not None]


def _tree(scene: Any) -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
