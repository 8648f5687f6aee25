"""One registration that was asked for: of what, from where, what its result holds for, and keeping that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.patient import signature_of
from XVRegistrationLib.registration.result_files import is_outdone
from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale
from XVRegistrationLib.scene.ignored import rectangles_of
from XVRegistrationLib.scene.results import (
    SCALE,
    VOLUME_PLACE,
    changed_since,
    read_registration,
    read_trust,
    write_registration,
)
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.xray_source import read_source
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

if TYPE_CHECKING:
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.xrays import Xrays

_HEADER = "header"
"""The start that the C-arm's angles state."""
_BEFORE = "before"
"""Where the frame before was found."""
_PRESET = "preset"
"""The nominal view, of which the angles are known as well but not how the patient lies on the table."""
BY_ANGLES = (_HEADER, _PRESET)
"""Starts that are tried shifted onto the X-ray as well."""


@dataclass(eq=False)
class Task:
    """A place in the queue."""

    node: Any
    name: str
    from_here: bool
    """Whether to refine from the present pose and from nowhere else."""
    volume: Any
    """The volume that was chosen when this was asked for, to which alone it is registered."""
    item: int | None = None
    """Which frame of a run to show and register; None for what is shown then."""
    before: Any = None
    """(4, 4) where the frame before it was found, mm: a start."""
    shown: int | None = None
    """The item that is registered, from when that begins."""
    request: int = 0
    share: float = 0.0
    basis: tuple[Any, ...] | None = None
    """Geometry, scale, volume with its meaning, and frame as they were handed to the engine: a result holds for no other."""
    place: Any = None
    """(4, 4) IJK to RAS, mm, of the volume then."""


def starts_of(
    task: Task, p: Any, patient: Patient, model: Model, xrays: Xrays
) -> tuple[list[str], dict[str, list[list[float]]]]:
    """Where hypotheses come from: sources of the model, and poses by their kind."""
    nodes = nodes_of(task.node)
    assert nodes is not None
    if task.from_here:
        return [], {"current": pose_from_node(nodes.pose).tolist()}
    sources = ["network"] * (p.useNetwork and model.network) + ["bank"] * p.useBank
    header = xrays.header_pose(task.node) if p.useHeader else None
    starts = {} if header is None else {_HEADER: header.tolist()}
    if p.usePreset:
        starts[_PRESET] = patient.nominal_pose.tolist()
    if p.useCurrent:
        starts["current"] = pose_from_node(nodes.pose).tolist()
    if task.before is not None:
        starts[_BEFORE] = task.before.tolist()
    return sources, starts


def basis_of(task: Task, said: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What a task's result depends on besides its starts, as it is now; None where that cannot be used any more."""
    try:
        volume = signature_of(task.volume), said
        shown = item_of(task.node), read_source(task.node), rectangles_of(task.node)
        return read_intrinsics(task.node), read_scale(task.node), volume, shown
    except InputError:
        return None


def is_outdone_by_earlier(node: Any, fields: dict[str, Any]) -> bool:
    """Whether a result must not replace the one that the X-ray has for the same geometry and place of the volume."""
    earlier, now = read_registration(node), read_trust(fields)
    if earlier is None or now is None or changed_since(node, earlier) not in ("", "pose"):
        return False
    trust = read_trust(earlier)
    return trust is not None and is_outdone(now.verdict, trust.verdict)


def keep(task: Task, fields: dict[str, Any], volume: Any) -> None:
    """Write the engine's answer to a task into the scene, with what it holds for; `volume`: its node, if it is there still."""
    scale = read_scale(task.node) if task.basis is None else task.basis[1]
    write_registration(task.node, {**fields, SCALE: scale, VOLUME_PLACE: task.place}, volume)
