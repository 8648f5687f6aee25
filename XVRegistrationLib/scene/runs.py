"""Runs of X-rays in the scene: one image and one C-arm pose whose frames are items of two sequences, played together.

The image node of a run is that of any X-ray; a sequence browser puts the frame that was chosen into it, with the pose and the
attributes of that frame. What is changed on the image or its pose is kept for the frame that is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.scene.attributes import PREFIX, write_known, write_notes
from XVRegistrationLib.scene.hierarchy import add_to_folder, folder_of, remove_nodes
from XVRegistrationLib.scene.transforms import to_world
from XVRegistrationLib.scene.volumes import update_voxels
from XVRegistrationLib.scene.xrays import PART, add_pending_xray, all_xrays_in, name_of, set_mask, set_world_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.partial import PartialXray

RUN_PARTS = ("Browser", "Frames", "Poses", "Frusta")
"""References of a run's image to the nodes that play it, without the prefix."""
_FRAME = PREFIX + "Frame"


@dataclass(frozen=True, eq=False)
class Run:
    """What plays the frames of an X-ray."""

    browser: Any
    """vtkMRMLSequenceBrowserNode; the two planes of a biplane system share one."""
    images: Any
    """vtkMRMLSequenceNode of one-slice volumes."""
    poses: Any
    """vtkMRMLSequenceNode of C-arm poses; None while the geometry is not complete."""

    @property
    def count(self) -> int:
        """Number of frames."""
        return int(self.images.GetNumberOfDataNodes())


def add_frames(
    scene: Any, frames: Sequence[PartialXray], name: str, volume_node: Any = None, partner: Any = None
) -> Any:
    """Add what a file holds, one image or a run, as an X-ray that has no pose yet; return its image node.

    Kept with it are the pixels that count and the notes. `partner` as in `add_run`.
    """
    first = frames[0]
    if len(frames) > 1:
        node = add_run(scene, frames, name=name, volume_node=volume_node, partner=partner)
    else:
        node = add_pending_xray(
            scene, name, first.pixels, first.known, first.origins, first.missing, first.scale, volume_node
        )
        write_notes(node, first.notes)
        set_frame(node, first.frame)
    set_mask(scene, node, common_mask(frames))
    return node


def common_mask(frames: Sequence[PartialXray]) -> NDArray[np.bool_] | None:
    """Pixels that count in all frames, as one mask serves them; where none does, those of the first."""
    # Frames that share their shutter share its mask.
    masks = {id(frame.mask): frame.mask for frame in frames if frame.mask is not None}
    common: NDArray[np.bool_] | None = None
    for mask in masks.values():
        common = mask if common is None else common & mask
    return frames[0].mask if common is None or not common.any() else common


def add_run(
    scene: Any, frames: Sequence[PartialXray], *, name: str | None = None, volume_node: Any = None, partner: Any = None
) -> Any:
    """Add the frames of one run, all of one size, as an X-ray that has no pose yet; return its image node.

    With `partner`, the image node of the other plane of a biplane run with as many frames, both are played together.
    """
    first = frames[0]
    if any(frame.pixels.shape != first.pixels.shape for frame in frames):
        raise InputError(f"The frames of {first.name} have different sizes; add them one by one.")
    node = add_pending_xray(
        scene, name or first.name, first.pixels, first.known, first.origins, first.missing, first.scale, volume_node
    )
    play_frames(node, frames, partner)
    return node


def play_frames(node: Any, frames: Sequence[PartialXray], partner: Any = None) -> None:
    """Make the frames of a run, all of one size, the items of an image node that shows the first; as `add_run` does it."""
    scene, other = node.GetScene(), None if partner is None else run_of(partner)
    browser = other.browser if other is not None and other.count == len(frames) else None
    if browser is None:
        browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"Run ({name_of(node)})")
        browser.SetAttribute(PART, "Browser")
        browser.SetIndexDisplayFormat("%.0f")
    images = new_sequence(scene, node, "Frames", f"Frames ({name_of(node)})")
    for number, frame in enumerate(frames):
        item = slicer.vtkMRMLScalarVolumeNode()
        item.CopyContent(node)
        item.SetName("X-ray")
        # `CopyContent` shares the image: this frame's own has to be another.
        item.SetAndObserveImageData(None)
        update_voxels(item, frame.pixels[None])
        write_known(item, {**frame.known, "size": frame.size}, frame.origins, frame.missing, frame.scale)
        write_notes(item, frame.notes)
        item.SetAttribute(_FRAME, str(number if frame.frame is None else frame.frame))
        images.SetDataNodeAtValue(item, str(number))
    node.SetNodeReferenceID(PREFIX + "Browser", browser.GetID())
    play(browser, images, node)
    browser.SetSelectedItemNumber(0)
    add_to_folder(scene, [browser, images], folder_of(scene, node))


def stop_frames(node: Any) -> Any:
    """Take the frames of a run from it, and leave the image as it is; return the image of the other plane of a biplane run."""
    run = run_of(node)
    if run is None:
        return None
    scene = node.GetScene()
    for part in ("Frames", "Poses", "Frusta"):
        items = node.GetNodeReference(PREFIX + part)
        if items is not None:
            run.browser.RemoveSynchronizedSequenceNode(items.GetID())
            remove_nodes(scene, [items])
        node.SetNodeReferenceID(PREFIX + part, None)
    node.SetNodeReferenceID(PREFIX + "Browser", None)
    others = [other for other in all_xrays_in(scene) if other.GetNodeReference(PREFIX + "Browser") is run.browser]
    if not others:
        remove_nodes(scene, [run.browser])
    return others[0] if others else None


def run_of(node: Any) -> Run | None:
    """What plays an X-ray, by its image node; None for a single image, and where somebody removed the sequence."""
    browser, images, poses = (node.GetNodeReference(PREFIX + part) for part in ("Browser", "Frames", "Poses"))
    if browser is None or images is None or not images.GetNumberOfDataNodes():
        return None
    return Run(browser, images, poses)


def frame_of(node: Any) -> int | None:
    """Which frame of its file an X-ray shows, counted from 0; None for an image that is no frame."""
    text = node.GetAttribute(_FRAME) or ""
    return int(text) if text.isdecimal() else None


def set_frame(node: Any, frame: int | None) -> None:
    """Say which frame of its file an image is, counted from 0; None for one that is no frame."""
    node.SetAttribute(_FRAME, None if frame is None else str(frame))


def item_of(node: Any) -> int:
    """Which item of its run an X-ray shows, counted from 0; 0 for a single image."""
    run = run_of(node)
    return 0 if run is None else max(0, run.browser.GetSelectedItemNumber())


def show_item(node: Any, item: int) -> None:
    """Show this item of a run, counted from 0; InputError if there is none."""
    run = run_of(node)
    count = 1 if run is None else run.count
    if not 0 <= item < count:
        raise InputError(f"{name_of(node)} has {count} frames, of which {item} is none: they are counted from 0.")
    if run is not None:
        run.browser.SetSelectedItemNumber(item)


def frame_nodes(node: Any) -> list[Any]:
    """A node for each frame, which has its attributes and pixels; the one shown is the image node itself."""
    run = run_of(node)
    if run is None:
        return [node]
    shown = item_of(node)
    return [node if i == shown else run.images.GetNthDataNode(i) for i in range(run.count)]


def share(node: Any, name: str) -> None:
    """Give all frames of a run an attribute of the one that is shown."""
    for frame in frame_nodes(node):
        if frame is not node:
            frame.SetAttribute(name, node.GetAttribute(name))


def place_frames(node: Any, poses: Sequence[ArrayLike]) -> None:
    """Give each frame of a run whose image is under its C-arm pose its own pose (4, 4), camera -> RAS, mm."""
    run, transform = run_of(node), node.GetParentTransformNode()
    if run is None or len(poses) != run.count:
        raise InputError(f"{name_of(node)} needs one pose for each of its frames, not {len(poses)}.")
    parent = np.linalg.inv(to_world(transform.GetParentTransformNode(), transform.GetName()))
    items = run.poses
    if items is None:
        items = new_sequence(node.GetScene(), node, "Poses", f"Poses ({name_of(node)})")
        add_to_folder(node.GetScene(), [items], folder_of(node.GetScene(), node))
    shown = item_of(node)
    for number, pose in enumerate(poses):
        item = slicer.vtkMRMLLinearTransformNode()
        item.CopyContent(transform)
        item.SetName("C-arm pose")
        item.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(parent @ check_rigid(pose)))
        items.SetDataNodeAtValue(item, str(number))
    set_world_matrix(transform, check_rigid(poses[shown]))
    if run.poses is None:
        play(run.browser, items, transform)


def poses_of(node: Any) -> list[NDArray[np.float64]]:
    """The pose (4, 4), camera -> RAS, mm, of each frame; empty where the run has none yet."""
    run, transform = run_of(node), node.GetParentTransformNode()
    if run is None or run.poses is None or transform is None:
        return []
    parent = to_world(transform.GetParentTransformNode(), transform.GetName())
    items = [run.poses.GetNthDataNode(i) for i in range(run.count)]
    return [parent @ slicer.util.arrayFromTransformMatrix(item) for item in items]


def show_controls(node: Any) -> None:
    """Show Slicer's own controls for the frames of a run, where there is a window to show them in."""
    run: Run | None = run_of(node)
    module: Any = getattr(slicer.modules, "sequences", None)
    if run is not None and hasattr(module, "showSequenceBrowser"):
        module.setToolBarActiveBrowserNode(run.browser)
        module.showSequenceBrowser(run.browser)


def browser_of(node: Any) -> tuple[Any, int] | None:
    """The sequence browser that fills any node, ours or of another reader, and the item it shows; None if none does."""
    scene = node.GetScene()
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(i, "vtkMRMLSequenceBrowserNode")
        if browser.GetSequenceNode(node) is not None:
            return browser, max(0, browser.GetSelectedItemNumber())
    return None


def new_sequence(scene: Any, node: Any, part: str, name: str) -> Any:
    """A new sequence that a run's image refers to as this part."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("frame")
    sequence.SetIndexUnit("")
    sequence.SetAttribute(PART, part)
    # The file that Slicer would choose for transforms has six digits.
    storage = scene.AddNewNodeByClass("vtkMRMLSequenceStorageNode")
    sequence.SetAndObserveStorageNodeID(storage.GetID())
    node.SetNodeReferenceID(PREFIX + part, sequence.GetID())
    return sequence


def play(browser: Any, sequence: Any, proxy: Any, *, keep_changes: bool = True) -> None:
    """Let the browser put a sequence's items into a node, and by default keep what is changed on that."""
    # Between these two steps Slicer would make a node of its own to put the items into.
    was_modifying = browser.StartModify()
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(proxy, sequence, False)
    browser.SetOverwriteProxyName(sequence, False)
    browser.SetSaveChanges(sequence, keep_changes)
    browser.EndModify(was_modifying)
