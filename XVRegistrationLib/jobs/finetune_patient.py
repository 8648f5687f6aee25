"""Making a patient's model from a network that other patients have taught."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.jobs.checks import check_minutes, check_new_folder
from XVRegistrationLib.jobs.train_patient import check_device, train_patient
from XVRegistrationLib.registration.bank import BANK_SIZE
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.registration.pretrained import load_pretrained
from XVRegistrationLib.training.preregistration import checked_place, place
from XVRegistrationLib.training.suitability import check_suitable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.pretrained import PretrainedModel
    from XVRegistrationLib.training.preregistration import Placement
    from XVRegistrationLib.training.trainer import Progress


def finetune_patient(
    folder: str | os.PathLike[str],
    pretrained: str | os.PathLike[str],
    volume: Volume,
    *,
    minutes: float = 1.0,
    seed: int = 0,
    device: str | None = None,
    forced: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """A model of `volume` in a new `folder`, whose network goes on from a `pretrained` one's for `minutes`.

    Raises InputError, and writes nothing, for what `start_finetuning` refuses.
    """
    check_minutes(minutes)
    check_device(device)
    model = start_finetuning(folder, load_pretrained(pretrained), volume, forced=forced)
    return train_patient(folder, model, minutes=minutes, seed=seed, device=device, progress=progress)


def start_finetuning(
    folder: str | os.PathLike[str],
    pretrained: PretrainedModel,
    volume: Volume,
    *,
    forced: bool = False,
    bank_size: int = BANK_SIZE,
    progress: Callable[[int, int], None] | None = None,
    on_placed: Callable[[Volume, Placement], None] | None = None,
) -> PatientModel:
    """A model of `volume` with a bank and the pretrained network as it is, saved in a new `folder`; ready to be trained.

    The network keeps its space: the patient's nominal view is the template's, moved to where the patient lies. `on_placed`
    is told the template and how the patient lies in it, also where that is refused. Raises InputError, and writes nothing,
    for a folder that holds a model, and unless `forced` for a volume full of metal and one that does not register to the template.
    """
    check_new_folder(folder)
    if not forced:
        check_suitable(volume)
    placement = place(volume, pretrained.template)
    if on_placed is not None:
        on_placed(pretrained.template, placement)
    if not forced:
        checked_place(volume, placement)
    view = pretrained.view.moved(invert(placement.to_template))
    prepared = prepare_model(
        volume, pretrained.intrinsics, view, pose_range=pretrained.pose_range, progress=progress, bank_size=bank_size
    )
    origin = {
        "pretrained": pretrained.identity,
        "anatomy": pretrained.anatomy,
        "patients": pretrained.patients,
        "to_template": placement.to_template.tolist(),
        "similarity": placement.similarity,
        "cover": placement.cover,
    }
    model = dataclasses.replace(prepared, network=pretrained.network, origin=origin)
    save_model(folder, model)
    return model
