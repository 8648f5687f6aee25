"""Removing X-rays from the scene, whole, whatever somebody removed of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import slicer.util

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.hierarchy import folder_of, remove_folder_if_empty, remove_nodes
from XVRegistrationLib.scene.runs import RUN_PARTS
from XVRegistrationLib.scene.xrays import OVERLAYS, PART, XrayNodes, all_xrays_in

if TYPE_CHECKING:
    from collections.abc import Sequence


def remove_xray(scene: Any, nodes: XrayNodes | Any) -> None:
    """Remove an X-ray, given by its nodes or by its image node: image, pose, frustum, what is drawn on it, its folder.

    What is gone already is skipped. Nodes of other X-rays and of the user stay, and so does a folder that holds one.
    """
    image = nodes.xray if isinstance(nodes, XrayNodes) else nodes
    pose = nodes.pose if isinstance(nodes, XrayNodes) else image.GetParentTransformNode()
    folder = nodes.folder if isinstance(nodes, XrayNodes) else folder_of(scene, image)
    mine = _parts(scene, image, pose)
    if isinstance(nodes, XrayNodes):
        mine += [nodes.frustum]
    remove_nodes(scene, [*_not_shared(scene, mine, [image]), image])
    remove_folder_if_empty(scene, folder or 0)


def parts_of(scene: Any, images: Sequence[Any]) -> list[Any]:
    """What belongs to the X-rays with these image nodes besides the images, and to no other X-ray."""
    mine = [part for image in images for part in _parts(scene, image, image.GetParentTransformNode())]
    return _not_shared(scene, list(dict.fromkeys(mine)), images)


def remove_leftovers(scene: Any) -> None:
    """Remove poses, frusta and overlays of X-rays whose image is gone, and their folders."""
    kept = {
        part.GetID() for image in all_xrays_in(scene) for part in _parts(scene, image, image.GetParentTransformNode())
    }
    everything = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    left = [node for node in everything if node.GetAttribute(PART) and node.GetID() not in kept]
    folders = {folder_of(scene, node) or 0 for node in left}
    remove_nodes(scene, left)
    for folder in folders:
        remove_folder_if_empty(scene, folder)


def _not_shared(scene: Any, parts: Sequence[Any], images: Sequence[Any]) -> list[Any]:
    """Those that belong to no other X-ray than these: a clone of an image shares what the original has, two planes their browser."""
    others = {
        part.GetID()
        for other in all_xrays_in(scene)
        if other not in images
        for part in _parts(scene, other, other.GetParentTransformNode())
    }
    return [part for part in parts if part.GetID() not in others]


def _parts(scene: Any, image: Any, pose: Any) -> list[Any]:
    """What belongs to an X-ray besides its image: what it refers to, and what this package put under its pose."""
    referred = (
        [image.GetNodeReference(PREFIX + name) for name in (*RUN_PARTS, "Frustum", "Mask", *OVERLAYS)]
        if image.GetScene()
        else []
    )
    under: list[Any] = []
    if pose is not None and pose.GetScene() is scene and pose.GetAttribute(PART):
        nodes = slicer.util.getNodesByClass("vtkMRMLTransformableNode", scene)
        under = [pose, *(node for node in nodes if node.GetParentTransformNode() is pose and node.GetAttribute(PART))]
    return [part for part in dict.fromkeys([*referred, *under]) if part is not None]
