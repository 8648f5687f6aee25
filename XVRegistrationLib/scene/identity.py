"""Who the patient is, as Slicer's DICOM module writes it into a scene, set aside while the scene is saved for others.

That module puts what it loads under items of the data tree that are called after the patient and the study, and names volumes
after their series: "5: Knee of Mr ...".
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import vtk

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.xrays import PART, bundled, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PEOPLE = ("Patient", "Study")
"""Levels of the data tree that are about somebody."""
_TELLING = ("DICOM.Patient", "DICOM.Study")
"""What the names of attributes begin with that are about somebody; UIDs of studies are kept as an item's UID."""
_UID = "DICOM"
_INSTANCES = "DICOM.instanceUIDs"
_SHORTEST = 3
"""Letters of a word that is looked for: "F" is the sex of many, and part of more."""


@contextmanager
def without_identity(scene: Any) -> Iterator[None]:
    """Within this the scene does not say who the patient is; afterwards it is as it was.

    Items of patients and studies have neutral names and no attributes, and nodes that came from DICOM are called by modality and
    series number. What named the patient there is also taken out of names, descriptions and attributes of all other nodes,
    those in sequences and scene views too. UIDs stay: they lead back to the files. What is written in the voxels, or in
    texts and tables of the user's, is left alone, and so is what a user called an X-ray's file.
    """
    with ExitStack() as undo:
        scenes = list(_scenes(scene))
        renamed: dict[str, str] = {}
        words: set[str] = set()
        for one in scenes:
            words |= _clear_people(one, undo)
        for one in scenes:
            for node, name in _series(one):
                old = node.GetName() or ""
                name = renamed.setdefault(old, name)
                renamed.setdefault(bundled(old), name)
                _change(undo, node.SetName, old, name)
        for one in scenes:
            for node in _nodes(one):
                _clear_node(node, renamed, words, undo)
                _clear_file(node, renamed, words, undo)
        yield


def _clear_people(scene: Any, undo: ExitStack) -> set[str]:
    """Make the items of patients and studies neutral; what they said."""
    tree: Any = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    said: set[str] = set()
    for item in _items(tree):
        level = tree.GetItemLevel(item)
        for name in tree.GetItemAttributeNames(item):
            value = tree.GetItemAttribute(item, name)
            if name.startswith(_TELLING):
                said |= _words(value, name)
                tree.RemoveItemAttribute(item, name)
                undo.callback(tree.SetItemAttribute, item, name, value)
        if level not in _PEOPLE:
            continue
        name = tree.GetItemName(item)
        said |= _words(name, level)
        tree.SetItemName(item, level)
        undo.callback(tree.SetItemName, item, name)
        uid = tree.GetItemUID(item, _UID)
        if level == "Patient" and uid:  # it holds the patient's ID
            said |= _words(uid, level)
            tree.RemoveItemUID(item, _UID)
            undo.callback(tree.SetItemUID, item, _UID, uid)
    return said


def _words(value: str, about: str) -> set[str]:
    """What of a value tells who somebody is: all of it, and of a patient each part of the name."""
    parts = re.split(r"[\s^=,()]+", value) if "Patient" in about else []
    return {word for word in (value.strip(), *parts) if len(word) >= _SHORTEST}


def _series(scene: Any) -> list[tuple[Any, str]]:
    """Nodes that came from DICOM, and what they are called by modality and number of their series."""
    tree: Any = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    items = {tree.GetItemDataNode(item): item for item in _items(tree)}
    found = []
    for node in _nodes(scene):
        item = items.get(node)
        loaded = node.GetAttribute(_INSTANCES) or (item is not None and tree.GetItemUID(item, _UID))
        if not loaded or name_of(node) or node.GetAttribute(PART):
            continue
        said = (
            []
            if item is None
            else [tree.GetItemAttribute(item, f"DICOM.{tag}") for tag in ("Modality", "SeriesNumber")]
        )
        modality, number = said or ("", "")
        found.append((node, f"{modality or node.GetNodeTagName()} {number}".strip()))
    return found


def _clear_file(node: Any, renamed: dict[str, str], words: set[str], undo: ExitStack) -> None:
    """Let a bundle call a node's file after the node, where the file that it came from is called after a series or somebody."""
    storage: Any = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    file = None if storage is None else storage.GetFileName()
    if not file:
        return
    called = unquote(PurePath(file).name)
    if not node.GetAttribute(_INSTANCES) and _without(called, renamed, words) == called:
        return
    files = [storage.GetNthFileName(i) for i in range(storage.GetNumberOfFileNames())]

    def restore() -> None:
        storage.ResetFileNameList()
        storage.SetFileName(file)
        for one in files:
            storage.AddFileName(one)

    storage.ResetFileNameList()
    storage.SetFileName(f"{bundled(node.GetName())}.{storage.GetDefaultWriteFileExtension()}")
    undo.callback(restore)


def _clear_node(node: Any, renamed: dict[str, str], words: set[str], undo: ExitStack) -> None:
    """Take names of series and of people out of what a node is called and says."""
    mine = bool(name_of(node) or node.GetAttribute(PART))
    for get, put in ((node.GetName, node.SetName), (node.GetDescription, node.SetDescription)):
        text = get()
        if text:
            _change(undo, put, text, _without(text, renamed, () if mine else words))
    for key in node.GetAttributeNames():
        value = node.GetAttribute(key)
        if key.startswith(_TELLING):
            new = None
        else:
            # Words of everyday use may be names: those of our own attributes mean something.
            new = value if "UID" in key else _without(value, renamed, () if key.startswith(PREFIX) else words)
        if new != value:
            node.SetAttribute(key, new)
            undo.callback(node.SetAttribute, key, value)


def _without(text: str, renamed: dict[str, str], words: Iterable[str]) -> str:
    for old in sorted(renamed, key=len, reverse=True):
        if old:
            text = text.replace(old, renamed[old])
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "_", text, flags=re.IGNORECASE)
    return text


def _change(undo: ExitStack, put: Callable[[str], object], old: str, new: str) -> None:
    if old != new:
        put(new)
        undo.callback(put, old)


def _scenes(scene: Any) -> Iterator[Any]:
    """The scene, and those that its sequences and scene views hold."""
    yield scene
    for node in _nodes(scene):
        held = None
        if node.IsA("vtkMRMLSequenceNode"):
            held = node.GetSequenceScene()
        elif node.IsA("vtkMRMLSceneViewNode"):
            held = node.GetStoredScene()
        if held is not None:
            yield held


def _nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]


def _items(tree: Any) -> list[int]:
    """All items of a data tree; none where there is no tree."""
    if tree is None:
        return []
    ids = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), ids, True)
    return [ids.GetId(i) for i in range(ids.GetNumberOfIds())]
