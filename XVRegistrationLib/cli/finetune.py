"""`xvregistration finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.progress import console, counting, say_notes, training
from XVRegistrationLib.cli.volume_options import reading_from
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.placement_picture import draw_placement
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.imaging.volumes.read import file_of
from XVRegistrationLib.jobs.checks import check_minutes, check_new_folder
from XVRegistrationLib.jobs.finetune_patient import learnt_model, start_finetuning
from XVRegistrationLib.jobs.train_patient import check_device, train_patient
from XVRegistrationLib.jobs.training_job import start_training

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.training.preregistration import Placement


_PICTURE = "preregistration.png"


def run(options: argparse.Namespace) -> int:
    """Finetune with progress, or start that in the background; all input is checked before anything is written."""
    check_minutes(options.minutes)
    check_device(options.device)
    check_new_folder(options.output)
    if options.background and options.minutes == 0:
        raise InputError("The network as it is takes no training; leave --background out, or give more than 0 minutes.")
    model = _started(options)
    if options.background:
        job = start_training(
            Path(options.output),
            minutes=options.minutes,
            volume=file_of(options.volume),
            device=options.device,
            seed=options.seed,
        )
        console.print(f"{job.id} trains in the background: see `xvregistration jobs`.")
        return 0
    try:
        with training() as progress:
            trained = train_patient(
                options.output,
                model,
                minutes=options.minutes,
                seed=options.seed,
                device=options.device,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped. {options.output} registers as far as it got; go on with: xvregistration train {options.volume} "
            f"-o {options.output} --resume --minutes {options.minutes:g}"
        ) from None
    _say(options.output, trained)
    return 0


def _started(options: argparse.Namespace) -> PatientModel:
    pretrained = learnt_model(options.pretrained, options.template)
    volume = read_volume(options.volume, reading_from(options))
    say_notes(volume)

    placed: list[tuple[Volume, Placement]] = []

    def on_placed(template: Volume, placement: Placement) -> None:
        if placement.ok or options.force:  # else it is the refusal
            console.print(f"{volume.name}: {placement.sentence}", markup=False)
        if options.picture is None:
            placed.append((template, placement))
        else:
            draw_placement(Path(options.picture), volume, template, placement)

    with counting("Bank") as count:
        model = start_finetuning(
            options.output,
            pretrained,
            volume,
            forced=options.force,
            progress=count,
            on_placed=on_placed,
            on_doubt=lambda sentence: console.print(sentence, markup=False),
        )
    for template, placement in placed:  # into the model's folder only now, when nothing can be refused any more
        draw_placement(Path(options.output) / _PICTURE, volume, template, placement)
    return model


def _say(folder: str, model: PatientModel) -> None:
    patients = model.origin["patients"]
    said = f"{folder}: network that knows {patients} {'patient' if patients == 1 else 'patients'}"
    if model.training:
        error = model.training["history"][-1]["validation"]
        said += f", finetuned on {model.training['images']:,} X-rays of this one, validation error {error:.1f} mm"
    console.print(f"{said}.")
