"""Making the CTs of a pretraining ready: each registered to the template and made small, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.pictures import can_draw
from XVRegistrationLib.evaluation.placement_picture import draw_placement
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.jobs.pretraining_plan import PREPARED, stem_of
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.registration.model import nominal_view
from XVRegistrationLib.registration.tensors import load_tensors, save_tensors
from XVRegistrationLib.training.patients import leave_out, prepare_patient, read_prepared
from XVRegistrationLib.training.preregistration import checked_place, coarse_template, place
from XVRegistrationLib.training.suitability import suitability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from XVRegistrationLib.jobs.pretraining_plan import Plan
    from XVRegistrationLib.training.patients import PreparedPatient
    from XVRegistrationLib.training.team import Team

_TEMPLATE = "template.safetensors"
_LEAST_SHARE = 0.5
"""Of the CTs must register to the template; where fewer do, it is the template that is odd."""


@dataclass(frozen=True)
class Preparation:
    """What the CTs of a plan have become."""

    patients: tuple[PreparedPatient, ...]
    left_out: tuple[tuple[str, str], ...]
    """File, and why, in a sentence."""


def prepare_patients(
    folder: Path,
    plan: Plan,
    team: Team,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Volume, Preparation]:
    """The template, and the CTs of a plan lying as it does, each made where it has not been yet.

    The processes of a team share the work. Raises InputError where the template cannot be one, and where most CTs do not
    register to it.
    """
    with team.together():
        if team.first and not _template_file(folder).exists():
            keep_template(folder, made_template(plan))
    template = kept_template(folder)
    mine = plan.all_volumes[team.rank :: team.size]
    with team.together():
        for done, path in enumerate(mine):
            if progress is not None:
                progress(done, len(mine))
            if read_prepared(stem_of(folder, path)) is None:
                _prepare(folder, plan, template, path)
        if progress is not None:
            progress(len(mine), len(mine))
    with team.together():
        found = _checked(_gathered(folder, plan), plan)
    return template, found


def held_out(patients: Sequence[PreparedPatient]) -> tuple[list[PreparedPatient], list[PreparedPatient]]:
    """Those to train on and those to validate on: of five or more every tenth, and one at least, is never trained on."""
    ordered = sorted(patients, key=lambda patient: patient.fingerprint)
    if len(ordered) < 5:
        return ordered, ordered
    count = max(1, len(ordered) // 10)
    return ordered[count:], ordered[:count]


def made_template(plan: Plan) -> Volume:
    """The coarse template of a plan, in seconds; InputError where its CT cannot be one."""
    try:
        volume = _suitable(plan, plan.template)
        coarse = coarse_template(volume)
        if not place(volume, coarse).ok:
            raise InputError(f"{plan.template} does not even register to itself.")
    except InputError as e:
        raise InputError(f"The template is no good: {e} Choose another CT for it.") from e
    return coarse


def keep_template(folder: Path, template: Volume) -> None:
    """Write the coarse template into a pretraining's folder, in the place of any other."""
    matrix = torch.from_numpy(np.ascontiguousarray(template.ijk_to_ras))
    save_tensors(_template_file(folder), {"hu": torch.from_numpy(template.array), "ijk_to_ras": matrix})


def kept_template(folder: Path) -> Volume:
    """The coarse template of a pretraining's folder; InputError where it is missing or damaged."""
    tensors = load_tensors(_template_file(folder))
    return Volume(tensors["hu"].numpy(), tensors["ijk_to_ras"].numpy(), "template")


def _template_file(folder: Path) -> Path:
    return folder / PREPARED / _TEMPLATE


def _suitable(plan: Plan, path: str) -> Volume:
    """The CT of a file; InputError where it is none, full of metal, or clearly of another part of the body than the plan's."""
    volume = read_volume(path, plan.reading)
    found = suitability(volume, nominal_view(volume, plan.view, plan.sod), plan.intrinsics, plan.anatomy)
    if found.refusal:
        raise InputError(found.refusal)
    return volume


def _prepare(folder: Path, plan: Plan, template: Volume, path: str) -> None:
    stem = stem_of(folder, path)
    camera = network_camera(plan.intrinsics, plan.network.pixels)
    try:
        volume = _suitable(plan, path)
        placement = place(volume, template)
        if plan.pictures and can_draw():
            draw_placement(stem.with_name(f"{stem.name}.png"), volume, template, placement)
        checked_place(volume, placement)
        prepare_patient(stem, volume, placement, camera.footprint(plan.sod) / 2)
    except InputError as e:
        leave_out(stem, str(e))


def _gathered(folder: Path, plan: Plan) -> Preparation:
    patients: dict[str, PreparedPatient] = {}
    left_out = []
    for path in plan.all_volumes:
        found = read_prepared(stem_of(folder, path))
        if found is None:
            left_out.append((path, "it has not been prepared; its file changed meanwhile, or is gone."))
        elif isinstance(found, str):
            left_out.append((path, found))
        elif found.fingerprint in patients:
            left_out.append((path, "it has the same voxels as another of them."))
        elif path in plan.volumes:
            patients[found.fingerprint] = found
    return Preparation(tuple(patients.values()), tuple(left_out))


def _checked(found: Preparation, plan: Plan) -> Preparation:
    unlike = [path for path, why in found.left_out if "does not register" in why]
    together = len(unlike) + len(found.patients)
    if len(found.patients) < 2 or len(found.patients) < _LEAST_SHARE * together:
        first = f" The first: {Path(found.left_out[0][0]).name}: {found.left_out[0][1]}" if found.left_out else ""
        raise InputError(
            f"Only {len(found.patients)} of {len(plan.volumes)} CTs can be learnt from; {len(unlike)} do not register to the "
            f"template {Path(plan.template).name}. Choose another CT for it, or CTs of one part of the body.{first}"
        )
    return found
