"""Making a patient's model from a network that other patients have taught."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.jobs.checks import check_minutes, check_new_folder
from XVRegistrationLib.jobs.train_patient import check_device, train_patient
from XVRegistrationLib.registration.bank import BANK_SIZE
from XVRegistrationLib.registration.card import PRETRAINED, read_any_card, reading_of
from XVRegistrationLib.registration.model import load_model, prepare_model, save_model
from XVRegistrationLib.registration.pretrained import PretrainedModel, load_pretrained
from XVRegistrationLib.training.preregistration import checked_place, coarse_template, place
from XVRegistrationLib.training.suitability import suitability

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from XVRegistrationLib.registration.model import PatientModel
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
    template: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """A model of `volume` in a new `folder`, whose network goes on from a `pretrained` one's for `minutes`.

    `pretrained` and `template` are as for `learnt_model`. Raises InputError, and writes nothing, for what `start_finetuning` refuses.
    """
    check_minutes(minutes)
    check_device(device)
    model = start_finetuning(folder, learnt_model(pretrained, template), volume, forced=forced)
    return train_patient(folder, model, minutes=minutes, seed=seed, device=device, progress=progress)


def learnt_model(folder: str | os.PathLike[str], template: str | os.PathLike[str] | None = None) -> PretrainedModel:
    """What finetuning starts from: a pretrained model, or that of another patient, whose CT then is the template.

    The CT is read from where that model's card says, or from the file `template`. Raises InputError for a folder without a
    learnt network, for a CT that cannot be found or is not the one of the model, and for the template of a pretrained model.
    """
    card = read_any_card(folder)
    if card["format"] == PRETRAINED:
        if template is not None:
            raise InputError(f"{folder} is pretrained and holds its template; leave the template out.")
        return load_pretrained(folder)
    if card.get("training", {}).get("origin") == "xvr":
        raise InputError(
            f"{folder} holds a network of xvr, which registers and cannot be trained further here; "
            "give a model that was made with `xvregistration pretrain` or `train`."
        )
    if card.get("network") is None:
        raise InputError(f"{folder} holds a bank alone, and no network that has learnt anything; train one first.")
    volume = None if template is None else read_volume(template, reading_of(card))
    if volume is not None and volume.fingerprint != card["volume"]["fingerprint"]:
        raise InputError(
            f"{template} is not the CT that {folder} has learnt ({card['volume']['name']}); give that one."
        )
    model = load_model(folder, volume)
    assert model.network is not None
    return PretrainedModel(
        coarse_template(model.volume),
        model.view,
        model.pose_range,
        model.intrinsics,
        model.network,
        model.anatomy,
        model.patients,
        model.training,
    )


def start_finetuning(
    folder: str | os.PathLike[str],
    pretrained: PretrainedModel,
    volume: Volume,
    *,
    forced: bool = False,
    bank_size: int = BANK_SIZE,
    progress: Callable[[int, int], None] | None = None,
    on_placed: Callable[[Volume, Placement], None] | None = None,
    on_doubt: Callable[[str], None] | None = None,
) -> PatientModel:
    """A model of `volume` with a bank and the pretrained network as it is, saved in a new `folder`; ready to be trained.

    The network keeps its space: the patient's nominal view is the template's, moved to where the patient lies. `on_placed`
    is told the template and how the patient lies in it, also where that is refused, and `on_doubt` each sentence that speaks
    against the volume. Raises InputError, and writes nothing, for a folder that holds a model, and unless `forced` for a volume
    full of metal, one that is clearly of another part of the body than the network knows, and one that does not register to
    the template.
    """
    check_new_folder(folder)
    placement = place(volume, pretrained.template)
    view = pretrained.view.moved(invert(placement.to_template))
    found = suitability(volume, view, pretrained.intrinsics, pretrained.anatomy)
    if found.refusal and not forced:
        raise InputError(found.refusal, give=("forced",))
    if on_placed is not None:
        on_placed(pretrained.template, placement)
    if not forced:
        checked_place(volume, placement)
    if on_doubt is not None:
        for sentence in found.sentences:
            on_doubt(sentence)
    prepared = prepare_model(
        volume, pretrained.intrinsics, view, pose_range=pretrained.pose_range, progress=progress, bank_size=bank_size
    )
    origin = {
        "pretrained": pretrained.identity,
        "patients": pretrained.patients,
        "to_template": placement.to_template.tolist(),
        "similarity": placement.similarity,
        "cover": placement.cover,
    }
    model = dataclasses.replace(prepared, network=pretrained.network, origin=origin, anatomy=pretrained.anatomy)
    save_model(folder, model)
    return model
