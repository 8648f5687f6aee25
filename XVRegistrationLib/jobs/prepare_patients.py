"""Making the CTs of a pretraining ready: each registered to the template and made small, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.jobs.pretraining_plan import PREPARED, stem_of
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.registration.tensors import load_tensors, save_tensors
from XVRegistrationLib.training.patients import leave_out, prepare_patient, read_prepared
from XVRegistrationLib.training.preregistration import checked_place, coarse_template, place
from XVRegistrationLib.training.suitability import check_suitable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from XVRegistrationLib.jobs.pretraining_plan import Plan
    from XVRegistrationLib.training.patients import PreparedPatient
    from XVRegistrationLib.training.preregistration import Placement
    from XVRegistrationLib.training.team import Team

    OnPlaced = Callable[[str, Volume, Volume, Placement], None]

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
    on_placed: OnPlaced | None = None,
) -> tuple[Volume, Preparation]:
    """The template, and the CTs of a plan lying as it does, each made where it has not been yet.

    The processes of a team share the work. `on_placed` is called with file, volume, template and placement of each that is
    new. Raises InputError where the template cannot be one, and where most CTs do not register to it.
    """
    template = _template(folder, plan, team)
    mine = plan.all_volumes[team.rank :: team.size]
    for done, path in enumerate(mine):
        if progress is not None:
            progress(done, len(mine))
        if read_prepared(stem_of(folder, path)) is None:
            _prepare(folder, plan, template, path, on_placed)
    if progress is not None:
        progress(len(mine), len(mine))
    team.wait()
    return template, _checked(_gathered(folder, plan), plan)


def held_out(patients: Sequence[PreparedPatient]) -> tuple[list[PreparedPatient], list[PreparedPatient]]:
    """Those to train on and those to validate on: of five or more every tenth, and one at least, is never trained on."""
    ordered = sorted(patients, key=lambda patient: patient.fingerprint)
    if len(ordered) < 5:
        return ordered, ordered
    count = max(1, len(ordered) // 10)
    return ordered[count:], ordered[:count]


def _template(folder: Path, plan: Plan, team: Team) -> Volume:
    """The coarse template, made by the first process where it is not there yet."""
    path = folder / PREPARED / _TEMPLATE
    if team.first and not path.exists():
        try:
            volume = read_volume(plan.template, plan.reading)
            check_suitable(volume)
            coarse = coarse_template(volume)
            if not place(volume, coarse).ok:
                raise InputError(f"{plan.template} does not even register to itself.")
        except InputError as e:
            raise InputError(f"The template is no good: {e} Choose another CT for it.") from e
        matrix = torch.from_numpy(np.ascontiguousarray(coarse.ijk_to_ras))
        save_tensors(path, {"hu": torch.from_numpy(coarse.array), "ijk_to_ras": matrix})
    team.wait()
    tensors = load_tensors(path)
    return Volume(tensors["hu"].numpy(), tensors["ijk_to_ras"].numpy(), "template")


def _prepare(folder: Path, plan: Plan, template: Volume, path: str, on_placed: OnPlaced | None) -> None:
    stem = stem_of(folder, path)
    camera = network_camera(plan.intrinsics, plan.network.pixels)
    try:
        volume = read_volume(path, plan.reading)
        check_suitable(volume)
        placement = place(volume, template)
        if on_placed is not None:
            on_placed(path, volume, template, placement)
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
