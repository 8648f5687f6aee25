"""An X-ray of the scene becomes another reading of its file: another frame, what is made of all of them, or subtracted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.partial import seen_as
from XVRegistrationLib.registration.review import Review
from XVRegistrationLib.scene.attributes import (
    PREFIX,
    read_known,
    read_missing,
    read_origins,
    read_scale,
    write_known,
    write_notes,
)
from XVRegistrationLib.scene.hierarchy import remove_nodes
from XVRegistrationLib.scene.placing import is_first_placed, missing_of, note_moved, place
from XVRegistrationLib.scene.results import forget_registration
from XVRegistrationLib.scene.reviews import read_review, write_review
from XVRegistrationLib.scene.runs import (
    common_mask,
    frame_nodes,
    frame_of,
    play_frames,
    poses_of,
    run_of,
    set_frame,
    share,
    show_item,
    stop_frames,
)
from XVRegistrationLib.scene.volumes import update_voxels, voxels
from XVRegistrationLib.scene.xray_source import read_source, write_source
from XVRegistrationLib.scene.xrays import MARKED, name_of, nodes_of, pose_from_node, set_mask, set_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Scale
    from XVRegistrationLib.scene.placing import FirstPose
    from XVRegistrationLib.scene.xray_source import XraySource

_ENTERED = ("sdd", "spacing", "mirrored")


@dataclass(frozen=True, eq=False)
class _Before:
    """What is kept of an X-ray whose pixels are replaced."""

    entered: dict[str, Any]
    """What the user has said of its geometry."""
    scale: Scale | None
    """What the user has said that its bright pixels are."""
    poses: dict[int | None, NDArray[np.float64]]
    """Frame -> where a registration or the user has put it; None for what was made of several."""
    shown: int | None
    """The frame that was shown."""
    angles: tuple[Any, ...]
    """The C-arm's, of that frame."""
    count: int


def read_again(node: Any, frames: Sequence[PartialXray], source: XraySource, first_pose: FirstPose) -> None:
    """Replace what an X-ray shows, by its image node, by frames of its file that were read anew as `source` says.

    Name, place, what the user entered of the geometry and rectangles stay; registrations, landmarks and what is picked,
    which are of other pixels, go, but the C-arm stays where it is. Frames that were neither registered nor moved get their
    `first_pose`. Raises InputError for frames of another size, and where the C-arm is under a transform that is not rigid.
    """
    if any(frame.pixels.shape != voxels(node).shape[1:] for frame in frames):
        raise InputError(f"{name_of(node)} has other frames by now: their size is another; add the file again.")
    before = _before(node, source)
    scene, partner = node.GetScene(), stop_frames(node)
    forget_registration(node)
    write_review(node, Review(note=read_review(node).review.note))  # what was decided is of other pixels
    note_moved(node)
    remove_nodes(scene, (node.GetNodeReference(PREFIX + part) for part in MARKED))  # on other pixels too
    _show(node, frames[0], before.scale)
    if len(frames) > 1:
        play_frames(node, frames, partner)
    write_source(node, source)
    for name in [name for name in node.GetAttributeNames() if name.startswith("DICOM.")]:
        share(node, name)
    set_mask(scene, node, common_mask(frames))
    numbers = [frame.frame for frame in frames]
    if before.shown in numbers:
        show_item(node, numbers.index(before.shown))
    missing = _enter(node, before)
    if not missing:
        alone = 1 in (before.count, len(frames))
        place(scene, node, first_pose, before.scale, [_pose_of(frame, before, alone) for frame in frame_nodes(node)])


def _before(node: Any, source: XraySource) -> _Before:
    frames, shown, known, origins = frame_nodes(node), frame_of(node), read_known(node), read_origins(node)
    entered = {name: known[name] for name in _ENTERED if origins.get(name) == "user" and name in known}
    poses: dict[int | None, NDArray[np.float64]] = {}
    if nodes_of(node) is not None:
        stood = poses_of(node) if run_of(node) is not None else []
        for frame, pose in zip(frames, stood or [pose_from_node(node)], strict=True):
            if not is_first_placed(frame, pose):
                poses[frame_of(frame)] = pose
    earlier = read_source(node)
    # Grey values are line integrals once they are subtracted, whatever they were before.
    same = earlier is not None and earlier.subtracted == source.subtracted and origins.get("scale") == "user"
    scale = read_scale(node) if same else None
    return _Before(entered, scale, poses, shown, _angles(node), len(frames))


def _show(node: Any, first: PartialXray, scale: Scale | None) -> None:
    """Give the image node the pixels and attributes of a frame, whose grey values may be known to be of a `scale`."""
    set_window(node, first.pixels, scale or first.scale)
    update_voxels(node, first.pixels[None])
    write_known(node, {**first.known, "size": first.size}, first.origins, first.missing, first.scale)
    write_notes(node, first.notes)
    set_frame(node, first.frame)


def _enter(node: Any, before: _Before) -> list[str]:
    """Enter again what the user had entered; return what is missing still."""
    missing = read_missing(node)
    for frame in frame_nodes(node):
        known = read_known(frame)
        if "mirrored" in before.entered:
            known = seen_as(known, before.entered["mirrored"])
        known |= before.entered
        missing = missing_of(known)
        origins = read_origins(frame) | dict.fromkeys(before.entered, "user")
        if before.scale is not None:
            origins["scale"] = "user"
        write_known(frame, known, origins, missing, before.scale or read_scale(frame))
    return missing


def _pose_of(frame: Any, before: _Before, alone: bool) -> NDArray[np.float64] | None:
    """Where a frame stood; with `alone`, one image before or now, where the one shown stood if the C-arm did not turn."""
    number = frame_of(frame)
    if number in before.poses:
        return before.poses[number]
    return before.poses.get(before.shown) if alone and _angles(frame) == before.angles else None


def _angles(frame: Any) -> tuple[Any, ...]:
    known = read_known(frame)
    return known.get("primary_angle"), known.get("secondary_angle")
