"""Where X-rays stand until they are registered: at the pose of their header or of a usual view, each frame of a run at its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, image_to_camera
from XVRegistrationLib.scene.attributes import PREFIX, read_known, read_origins, read_scale, write_attributes
from XVRegistrationLib.scene.landmarks import keep_marks_at_pixels
from XVRegistrationLib.scene.picks import keep_pick_at_pixel
from XVRegistrationLib.scene.run_frusta import play_frusta
from XVRegistrationLib.scene.runs import frame_nodes, item_of, place_frames, poses_of, run_of
from XVRegistrationLib.scene.transforms import ijk_to_parent
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import complete_xray, nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Scale
    from XVRegistrationLib.scene.xrays import XrayNodes

    FirstPose = Callable[[Any], tuple[NDArray[np.float64], str]]
    """Of an image node, or of the node of a frame: where to put it, and by what: "header" or "preset"."""

NEEDED = ("sdd", "spacing")
"""Fields without which an X-ray cannot be placed."""
_PLACED = PREFIX + "Placed"
"""Attribute of an X-ray whose pose is still the one it was given when it was added: "header" or "preset"."""
_PLACED_AT = PREFIX + "PlacedAt"
"""That pose, row by row: any other is somebody's work, also where nobody watched it being moved."""
_SAME = 1e-3
"""Entries of two poses differ by less, mm for the position, where these are the same."""


def place(
    scene: Any,
    node: Any,
    first_pose: FirstPose,
    scale: Scale | None = None,
    stood: Sequence[NDArray[np.float64] | None] | None = None,
) -> XrayNodes:
    """Give an X-ray whose geometry is known its place in the scene; where it has one already, that stays.

    `stood` says so of each frame where the nodes do not: a pose (4, 4), camera -> RAS, mm, or None for one without.

    The geometry is that of its attributes, a principal point that is not there being the middle. `scale` replaces that
    of the grey values. What the user has marked stays at its pixels. Raises InputError where something of the geometry is missing.
    """
    frames, shown = frame_nodes(node), item_of(node)
    stored = [np.linalg.inv(ijk_to_parent(frame)) for frame in frames]
    if stood is None:
        stood = (poses_of(node) or [pose_from_node(node)]) if nodes_of(node) is not None else [None] * len(frames)
    first = [first_pose(f) if pose is None else (pose, "") for f, pose in zip(frames, stood, strict=True)]
    geometries = [_geometry_of(frame) for frame in frames]
    poses = [pose for pose, _by in first]
    nodes = complete_xray(scene, node, *geometries[shown], poses[shown], scale=scale)
    if run_of(node) is not None:
        for frame, (intrinsics, origins) in zip(frames, geometries, strict=True):
            if frame is not node:
                write_attributes(frame, intrinsics, scale or read_scale(frame), origins)
                frame.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image_to_camera(intrinsics)))
        place_frames(node, poses)
        play_frusta(node, [intrinsics for intrinsics, _origins in geometries])
    for frame, (pose, by) in zip(frames, first, strict=True):
        if by:
            _note(frame, pose, by)
    motions = [ijk_to_parent(frame) @ to_pixel for frame, to_pixel in zip(frames, stored, strict=True)]
    keep_marks_at_pixels(node, frames, motions)
    keep_pick_at_pixel(node, motions)
    return nodes


def place_again(node: Any, first_pose: FirstPose) -> None:
    """Put those frames of an X-ray that were neither registered nor moved where they belong by now."""
    nodes, frames, shown = nodes_of(node), frame_nodes(node), item_of(node)
    if nodes is None:
        return
    poses = poses_of(node) or [pose_from_node(node)]
    moved = False
    for number, frame in enumerate(frames):
        if is_first_placed(frame, poses[number]):
            poses[number], by = first_pose(frame)
            _note(frame, poses[number], by)
            moved = True
    if moved and run_of(node) is not None:
        place_frames(node, poses)
    elif moved:
        set_pose(nodes, poses[shown])


def is_first_placed(node: Any, pose: NDArray[np.float64] | None = None) -> bool:
    """Whether an X-ray has been neither registered nor moved since it was placed.

    For a frame that is not shown its present `pose` has to be given.
    """
    if not node.GetAttribute(_PLACED):
        return False
    text = node.GetAttribute(_PLACED_AT)
    if text is None:
        return True
    try:
        now = pose_from_node(node) if pose is None else pose
        return np.allclose(now.ravel(), [float(v) for v in text.split()], atol=_SAME)
    except (InputError, ValueError):
        return False


def note_moved(node: Any) -> None:
    """Note that an X-ray stands where a registration or the user put it."""
    node.SetAttribute(_PLACED, None)
    node.SetAttribute(_PLACED_AT, None)


def missing_of(known: dict[str, Any]) -> list[str]:
    """What an X-ray lacks to be placed."""
    return [field for field in NEEDED if known.get(field) is None]


def _geometry_of(node: Any) -> tuple[Intrinsics, dict[str, str]]:
    """Intrinsics by the attributes of an image or of a frame, and where each value came from."""
    known, origins = read_known(node), read_origins(node)
    if missing_of(known):
        raise InputError(
            f"The geometry of {node.GetName()} is not complete: {' and '.join(missing_of(known))} missing."
        )
    height, width = voxels(node).shape[1:]
    if known.get("principal_point") is None:
        known["principal_point"] = ((width - 1) / 2, (height - 1) / 2)
        origins["principal_point"] = "assumed"
    mirrored = bool(known.get("mirrored", False))
    spacing, principal_point = tuple(known["spacing"]), tuple(known["principal_point"])
    return Intrinsics(float(known["sdd"]), spacing, principal_point, (width, height), mirrored), origins


def _note(node: Any, pose: NDArray[np.float64], by: str) -> None:
    """Keep where an X-ray was put until it is registered, and by what."""
    node.SetAttribute(_PLACED, by)
    node.SetAttribute(_PLACED_AT, " ".join(repr(float(v)) for v in pose.ravel()))
