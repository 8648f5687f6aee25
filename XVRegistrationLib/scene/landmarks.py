"""Landmarks marked in the CT and on an X-ray: two lists of points, paired by their names.

The list of a run holds the marks of all its frames: each says its frame in its description, and those of other frames than
the one that is shown are hidden, and count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera, project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.hierarchy import add_to_folder
from XVRegistrationLib.scene.overlays import overlay
from XVRegistrationLib.scene.runs import frame_of, item_of, run_of
from XVRegistrationLib.scene.xrays import pose_from_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.scene.xrays import XrayNodes

_REFERENCE = PREFIX + "Landmarks"
_COLOR = (0.8, 0.47, 0.65)  # told from the targets also by those who do not see red or green
_OFF_PLANE = 1.0  # mm
_FRAME = "frame "
"""How the description of a mark on a run begins; the frame's number in its file follows, from 0."""


@dataclass(frozen=True)
class Landmark:
    """A landmark in the CT, on an X-ray, or on both."""

    name: str
    point: tuple[float, float, float] | None
    """RAS mm."""
    pixel: tuple[float, float] | None
    """Stored (column, row), on the frame that is shown."""
    other_frames: tuple[int, ...] = ()
    """Those of the run's frames that are not shown on which it is marked too, counted from 0."""


def points_of(volume_node: Any) -> Any:
    """vtkMRMLMarkupsFiducialNode of the landmarks in a volume; None if there are none."""
    return volume_node.GetNodeReference(_REFERENCE)


def marks_of(xray_node: Any) -> Any:
    """vtkMRMLMarkupsFiducialNode of the landmarks on an X-ray, of all frames of a run; None if there are none.

    What was marked since the last call is put down to the frame that is shown, and what is of other frames is hidden.
    """
    node = xray_node.GetNodeReference(PREFIX + "Marks")
    if node is not None:
        _sort_by_frame(node, _shown(xray_node))
    return node


def make_points(scene: Any, volume_node: Any) -> Any:
    """The landmarks' node of a volume, made if there is none."""
    node = points_of(volume_node)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
        node.CreateDefaultDisplayNodes()
        _dress(node)
        volume_node.SetNodeReferenceID(_REFERENCE, node.GetID())
        add_to_folder(scene, [node], None)
    return node


def make_marks(scene: Any, nodes: XrayNodes) -> Any:
    """The marks' node of an X-ray, made if there is none; it lies on the detector and shows in the X-ray's view alone."""
    is_new = marks_of(nodes.xray) is None
    node = overlay(scene, nodes, "Marks", "vtkMRMLMarkupsFiducialNode", f"Landmarks ({nodes.name})")
    if node is not None and is_new:
        _dress(node)
    return node


def landmarks_of(volume_node: Any, nodes: XrayNodes | None) -> list[Landmark]:
    """All landmarks by their names, those of the volume first. InputError for a mark that is not on the X-ray."""
    points = {} if volume_node is None else _positions(points_of(volume_node), world=True)
    marks = {} if nodes is None else _positions(marks_of(nodes.xray), world=False, of=_shown(nodes.xray))
    pixels = {name: _pixel(name, mark, nodes) for name, mark in marks.items()}
    elsewhere = {} if nodes is None else _other_frames(nodes.xray)
    names = list(dict.fromkeys([*points, *pixels, *elsewhere]))
    return [
        Landmark(name, _tuple3(points.get(name)), pixels.get(name), tuple(elsewhere.get(name, ()))) for name in names
    ]


def misses(landmarks: list[Landmark], nodes: XrayNodes) -> NDArray[np.float64]:
    """(N, 2) columns and rows by which each landmark falls beside its mark at the present pose, px; NaN for half a pair."""
    nothing = (np.nan, np.nan, np.nan)
    points = np.array([mark.point or nothing for mark in landmarks]).reshape(-1, 3)
    pixels = np.array([mark.pixel or nothing[:2] for mark in landmarks]).reshape(-1, 2)
    return np.asarray(project(points, pose_from_node(nodes.pose), read_intrinsics(nodes.xray)) - pixels)


def remove_landmark(volume_node: Any, xray_node: Any, name: str) -> None:
    """Remove a landmark of this name from a volume and from an X-ray, of a run from the frame that is shown; either may be None."""
    if volume_node is not None:
        _remove_points(points_of(volume_node), name, None)
    if xray_node is not None:
        _remove_points(marks_of(xray_node), name, _shown(xray_node))


def set_point(markups_node: Any, name: str, position: ArrayLike, xray_node: Any = None) -> None:
    """Put the point of this name (3,), mm in the node's own space; it is added if there is none.

    With `xray_node`, of whose marks it is one, that of the frame that is shown.
    """
    place = [float(v) for v in np.asarray(position, dtype=np.float64)]
    of = None if xray_node is None else _shown(xray_node)
    there = _indices(markups_node, name, of)
    if there:
        markups_node.SetNthControlPointPosition(there[0], *place)
        return
    index = markups_node.AddControlPoint(*place, name)
    if of is not None:
        markups_node.SetNthControlPointDescription(index, of)


def keep_marks_at_pixels(xray_node: Any, frames: Sequence[Any], motions: Sequence[NDArray[np.float64]]) -> None:
    """Move the marks on an X-ray as the pixels of its `frames` moved: each motion is (4, 4), camera -> camera, mm."""
    node, shown = marks_of(xray_node), _shown(xray_node)
    of_frame = {_word(frame, i): motion for i, (frame, motion) in enumerate(zip(frames, motions, strict=True))}
    for i in range(0 if node is None else node.GetNumberOfControlPoints()):
        motion = motions[0] if shown is None else of_frame.get(node.GetNthControlPointDescription(i))
        if motion is not None:
            move_point(node, i, motion)


def move_point(markups_node: Any, index: int, motion: NDArray[np.float64]) -> None:
    """Move a point that has been placed by a motion (4, 4) in the node's own space, mm."""
    if markups_node.GetNthControlPointPositionStatus(index) == markups_node.PositionDefined:
        place = np.array(markups_node.GetNthControlPointPosition(index))
        markups_node.SetNthControlPointPosition(index, *transform_points(motion, place).tolist())


def free_name(landmarks: list[Landmark]) -> str:
    """The lowest number that is no landmark's name."""
    taken = {mark.name for mark in landmarks}
    return next(str(n) for n in range(1, len(taken) + 2) if str(n) not in taken)


def place_next(scene: Any, markups_node: Any, name: str) -> None:
    """Let the user's next click in a view add a point of this name; InputError where there are no views."""
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if selection is None or interaction is None:
        raise InputError("There is no view to mark a landmark in.")
    # Without a number in it the format is the name of the next point.
    markups_node.SetControlPointLabelFormat(name)
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetActivePlaceNodeID(markups_node.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)


def _pixel(name: str, mark: NDArray[np.float64], nodes: XrayNodes | None) -> tuple[float, float]:
    assert nodes is not None
    column, row, depth = transform_points(np.linalg.inv(image_to_camera(read_intrinsics(nodes.xray))), mark)
    if abs(depth) > _OFF_PLANE:
        raise InputError(f"The mark {name} does not lie on the X-ray: remove it, and mark it in the X-ray's view.")
    return float(column), float(row)


def _shown(xray_node: Any) -> str | None:
    """What the marks on the frame that a run shows are described by; None for a single image, whose marks need no word."""
    if run_of(xray_node) is None:
        return None
    return _word(xray_node, item_of(xray_node))


def _word(frame: Any, item: int) -> str:
    """What marks on a frame, which is the run's item of this number, are described by."""
    number = frame_of(frame)
    return f"{_FRAME}{item if number is None else number}"


def _sort_by_frame(node: Any, shown: str | None) -> None:
    """Put marks that are of no frame yet down to the one that is shown, and hide those of others; nothing for a single image."""
    for i in range(0 if shown is None else node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(i) != node.PositionDefined:
            continue  # the user has not clicked yet
        if _frame(node, i) is None:
            node.SetNthControlPointDescription(i, shown)
        visible = node.GetNthControlPointDescription(i) == shown
        if node.GetNthControlPointVisibility(i) != visible:
            node.SetNthControlPointVisibility(i, visible)


def _frame(node: Any, index: int) -> int | None:
    """Which frame a mark is on, from 0; None where nothing says so."""
    kind, _, number = node.GetNthControlPointDescription(index).partition(" ")
    return int(number) if f"{kind} " == _FRAME and number.isdecimal() else None


def _other_frames(xray_node: Any) -> dict[str, list[int]]:
    """Name -> the frames, in order, of the marks on those that a run does not show."""
    node, shown = marks_of(xray_node), _shown(xray_node)
    found: dict[str, list[int]] = {}
    for i in range(0 if node is None or shown is None else node.GetNumberOfControlPoints()):
        number = _frame(node, i)
        if number is not None and f"{_FRAME}{number}" != shown:
            found.setdefault(node.GetNthControlPointLabel(i), []).append(number)
    return {name: sorted(numbers) for name, numbers in found.items()}


def _indices(node: Any, name: str, of: str | None) -> list[int]:
    """The points of this name; with `of` only those that are described so."""
    return [
        i
        for i in range(0 if node is None else node.GetNumberOfControlPoints())
        if node.GetNthControlPointLabel(i) == name and of in (None, node.GetNthControlPointDescription(i))
    ]


def _remove_points(node: Any, name: str, of: str | None) -> None:
    for index in reversed(_indices(node, name, of)):
        node.RemoveNthControlPoint(index)


def _positions(node: Any, *, world: bool, of: str | None = None) -> dict[str, NDArray[np.float64]]:
    """Name -> position (3,), mm, of the points that have one, with `of` of those described so; of two with one name the first."""
    found: dict[str, NDArray[np.float64]] = {}
    for i in range(0 if node is None else node.GetNumberOfControlPoints()):
        if of not in (None, node.GetNthControlPointDescription(i)):
            continue
        if node.GetNthControlPointPositionStatus(i) == node.PositionDefined:
            place = node.GetNthControlPointPositionWorld(i) if world else node.GetNthControlPointPosition(i)
            found.setdefault(node.GetNthControlPointLabel(i), np.array(place))
    return found


def _dress(node: Any) -> None:
    display = node.GetDisplayNode()
    display.SetColor(*_COLOR)
    display.SetSelectedColor(*_COLOR)
    display.SetTextScale(4.0)


def _tuple3(point: NDArray[np.float64] | None) -> tuple[float, float, float] | None:
    return None if point is None else (float(point[0]), float(point[1]), float(point[2]))
