"""X-rays that must not leave with a scene, set aside while it is saved for others."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.hierarchy import folder_of, hanging_on
from XVRegistrationLib.scene.removal import parts_of
from XVRegistrationLib.scene.results import REGISTRATION, frame_registration, registration_that_holds
from XVRegistrationLib.scene.reviews import read_review, review_at
from XVRegistrationLib.scene.runs import item_of, poses_of, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def is_for_others(image: Any) -> bool:
    """Whether an X-ray, of a run the frame that is shown, is registered where it stands and not rejected."""
    return registration_that_holds(image) is not None and read_review(image).review.decision != "rejected"


@contextmanager
def without_xrays(scene: Any, images: Sequence[Any], kept: Sequence[Any]) -> Iterator[Callable[[str], str]]:
    """Within this a scene is saved without the X-rays with these image nodes; afterwards it is as it was.

    What belongs to them (pose, frustum, what is drawn on them) is left out too, in scene views also; of the X-rays `kept`
    the frames that were rejected have no result and no pose. Slicer keeps an item of its data tree for each node that is not saved: what is
    yielded takes these out of the text of the scene's file.
    """
    nodes = [*images, *parts_of(scene, images)]
    nodes += [other for node in nodes for other in hanging_on(node)]
    ids = {node.GetID() for node in nodes}
    folders = {folder_of(scene, image) for image in images}
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = [item for item in map(tree.GetItemByDataNode, nodes) if item]
    with ExitStack() as undo:
        for one in (scene, *_stored_scenes(scene)):
            for node in filter(None, map(one.GetNodeByID, ids)):
                undo.callback(node.SetSaveWithScene, node.GetSaveWithScene())
                node.SetSaveWithScene(False)
        for image in kept:
            _clear_rejected_frames(image, undo)
        yield lambda text: _without_items(text, [*items, *(folder for folder in folders if folder)])


def _stored_scenes(scene: Any) -> Iterator[Any]:
    for view in slicer.util.getNodesByClass("vtkMRMLSceneViewNode", scene):
        if view.GetStoredScene() is not None:
            yield view.GetStoredScene()


def _clear_rejected_frames(image: Any, undo: ExitStack) -> None:
    """Let the frames of a run that were rejected, and are not shown, have neither result nor pose: the camera at the origin."""
    run = run_of(image)
    if run is None:
        return
    for number, pose in enumerate(poses_of(image)):
        frame = run.images.GetNthDataNode(number)
        found = frame_registration(frame, pose, image)
        if number == item_of(image) or review_at(frame, found).review.decision != "rejected":
            continue
        for name in (REGISTRATION, PREFIX + "Review"):
            undo.callback(frame.SetAttribute, name, frame.GetAttribute(name))
        frame.SetAttribute(REGISTRATION, None)
        item = run.poses.GetNthDataNode(number)
        undo.callback(item.SetMatrixTransformToParent, slicer.util.vtkMatrixFromArray(_matrix(item)))
        item.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))


def _matrix(item: Any) -> Any:
    return slicer.util.arrayFromTransformMatrix(item)


def _without_items(text: str, items: Sequence[int]) -> str:
    """The text of a scene's file without these items of the data tree, in this order, that have no others under them."""
    for item in items:
        text = re.sub(rf'\s*<SubjectHierarchyItem id="{item}"[^>]*>\s*</SubjectHierarchyItem>', "", text)
    return text
