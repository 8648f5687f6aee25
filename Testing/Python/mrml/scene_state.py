"""What a scene says of itself, to see that something left it as it was."""

from __future__ import annotations

import vtk


def state_of(scene):
    """What nodes are called and say, whether they are saved, also those in sequences and scene views, and the data tree."""
    found = []
    for number in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(number)
        attributes = {key: node.GetAttribute(key) for key in node.GetAttributeNames()}
        storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
        files = [storage.GetNthFileName(i) for i in range(storage.GetNumberOfFileNames())] if storage else []
        found.append((node.GetName(), node.GetDescription(), attributes, storage and storage.GetFileName(), files))
        found.append((node.GetID(), node.GetSaveWithScene()))
        if node.IsA("vtkMRMLSequenceNode"):
            found += state_of(node.GetSequenceScene())
        if node.IsA("vtkMRMLSceneViewNode"):
            found += state_of(node.GetStoredScene())
    tree = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    ids = vtk.vtkIdList()
    if tree is not None:
        tree.GetItemChildren(tree.GetSceneItemID(), ids, True)
    for item in (ids.GetId(i) for i in range(ids.GetNumberOfIds())):
        attributes = {key: tree.GetItemAttribute(item, key) for key in tree.GetItemAttributeNames(item)}
        uids = {key: tree.GetItemUID(item, key) for key in tree.GetItemUIDNames(item)}
        found.append((item, tree.GetItemName(item), attributes, uids))
    return found
