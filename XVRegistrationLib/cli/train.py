"""`xvregistration train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.cli.progress import console, counting, training
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.imaging.xray_files import read_xray
from XVRegistrationLib.jobs.train_patient import (
    check_minutes,
    check_new_folder,
    resume_training,
    start_patient,
    train_patient,
)
from XVRegistrationLib.registration.model import read_card

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.registration.model import PatientModel

_DEFAULT_SID, _DEFAULT_SIZE, _DEFAULT_SPACING = 1020.0, (512, 512), (0.76, 0.76)


def run(options: argparse.Namespace) -> int:
    """Train, or go on training, with progress; Ctrl-C says how to go on."""
    try:
        if options.resume:
            volume = read_volume(options.volume)
            with training() as progress:
                model = resume_training(
                    options.output, volume=volume, minutes=options.minutes, device=options.device, progress=progress
                )
        else:
            model = _train(options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(options)) from None
    _say(options.output, model)
    return 0


def _train(options: argparse.Namespace) -> PatientModel:
    minutes = 5.0 if options.minutes is None else options.minutes
    check_minutes(minutes)
    check_new_folder(options.output)
    intrinsics = _intrinsics(options)
    pose_range = PoseRange(tuple(options.rotation), tuple(options.translation))
    volume = read_volume(options.volume)
    with counting("Bank") as count:
        model = start_patient(
            options.output,
            volume,
            intrinsics,
            view=options.view,
            sod=options.sod,
            pose_range=pose_range,
            progress=count,
        )
    if minutes == 0:
        return model
    with training() as progress:
        return train_patient(
            options.output, model, minutes=minutes, seed=options.seed, device=options.device, progress=progress
        )


def _intrinsics(options: argparse.Namespace) -> Intrinsics:
    """From the X-ray that shows the geometry, or from the options."""
    spacing = None if options.spacing is None else (options.spacing[0], options.spacing[1])
    if options.geometry is not None:
        return read_xray(options.geometry, sid=options.sid, spacing=spacing, mirrored=options.mirrored).intrinsics
    size = _DEFAULT_SIZE if options.size is None else (options.size[0], options.size[1])
    return Intrinsics.centered(
        _DEFAULT_SID if options.sid is None else options.sid, spacing or _DEFAULT_SPACING, size, options.mirrored
    )


def _how_to_go_on(options: argparse.Namespace) -> str:
    again = f"xvregistration train {options.volume} -o {options.output} --resume"
    try:
        trained = read_card(options.output)["training"]
    except InputError:
        return "stopped before anything was saved."
    if not trained:
        return f"stopped before the first checkpoint; {options.output} holds the bank and registers without a network."
    return (
        f"stopped. {options.output} holds the checkpoint of {trained['seconds'] / 60:.1f} minutes; go on with: {again}"
    )


def _say(folder: str, model: PatientModel) -> None:
    said = f"{folder}: bank of {len(model.bank.poses)} renders"
    if model.training:
        error = model.training["history"][-1]["validation"]
        said += f", network trained on {model.training['images']:,} X-rays, validation error {error:.1f} mm"
    console.print(f"{said}.")
