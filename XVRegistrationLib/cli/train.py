"""`xvregistration train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.network_options import network_from, words_of
from XVRegistrationLib.cli.progress import console, counting, say_notes, training
from XVRegistrationLib.cli.view_options import view_from
from XVRegistrationLib.cli.volume_options import reading_from
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.imaging.volumes.read import file_of
from XVRegistrationLib.jobs.checks import DEFAULT_MINUTES, check_minutes, check_new_folder
from XVRegistrationLib.jobs.train_patient import check_device, resume_training, start_patient, train_patient
from XVRegistrationLib.jobs.training_job import start_training
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.card import read_card, reading_of

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.registration.model import PatientModel


def run(options: argparse.Namespace) -> int:
    """Train, or go on training, with progress; Ctrl-C says how to go on."""
    try:
        if options.background:
            _start_job(options)
            return 0
        if options.resume:
            volume = read_volume(options.volume, reading_of(read_card(options.output)))
            with training() as progress:
                model = resume_training(
                    options.output,
                    volume=volume,
                    minutes=options.minutes,
                    seed=options.seed,
                    device=options.device,
                    network=_network(options),
                    progress=progress,
                )
        else:
            network = _network(options)
            model = _prepare(options)
            with training() as progress:
                model = train_patient(
                    options.output,
                    model,
                    minutes=_minutes(options),
                    seed=options.seed,
                    device=options.device,
                    network=network,
                    progress=progress,
                )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(options)) from None
    _say(options.output, model)
    return 0


def _start_job(options: argparse.Namespace) -> None:
    """The bank here, in seconds; the network in a job."""
    minutes, network = options.minutes, _network(options)
    if not options.resume:
        minutes = _minutes(options)
        if minutes == 0:
            raise InputError("The bank alone takes seconds; train without --background, or for more than 0 minutes.")
        _say(options.output, _prepare(options))
    else:
        check_device(options.device)
    job = start_training(
        Path(options.output),
        minutes=minutes,
        volume=file_of(options.volume),
        device=options.device,
        seed=options.seed,
        network=network,
    )
    console.print(f"{job.id} trains in the background: see `xvregistration jobs`.")


def _network(options: argparse.Namespace) -> NetworkSettings | None:
    """What is asked for; InputError where the folder's network goes on, which is what it is."""
    asked = network_from(options, NetworkSettings())
    if asked is not None and options.resume and read_card(options.output)["training"]:
        raise InputError(f"{options.output} goes on with the network that it holds; leave {words_of(options)[0]} out.")
    return asked


def _minutes(options: argparse.Namespace) -> float:
    return DEFAULT_MINUTES if options.minutes is None else float(options.minutes)


def _prepare(options: argparse.Namespace) -> PatientModel:
    """A new model with a bank; all input is checked before anything is written."""
    check_minutes(_minutes(options))
    check_device(options.device)
    check_new_folder(options.output)
    view = view_from(options)
    volume = read_volume(options.volume, reading_from(options))
    say_notes(volume)
    with counting("Bank") as count:
        return start_patient(
            options.output,
            volume,
            view.intrinsics,
            view=view.name,
            sod=view.sod,
            pose_range=view.pose_range,
            anatomy=options.anatomy or "",
            forced=options.force,
            on_doubt=lambda sentence: console.print(sentence, markup=False),
            progress=count,
        )


def _how_to_go_on(options: argparse.Namespace) -> str:
    again = ["xvregistration", "train", options.volume, "-o", options.output, "--resume"]
    try:
        trained = read_card(options.output)["training"]
    except InputError:
        return "stopped before anything was saved."
    if options.minutes is not None:
        again += ["--minutes", f"{options.minutes:g}"]
    if options.device is not None:
        again += ["--device", options.device]
    if not trained:
        if options.seed != 0:
            again += ["--seed", str(options.seed)]
        again += words_of(options)
        return (
            f"stopped before the first checkpoint. {options.output} holds the bank and registers without a network; "
            f"go on with: {shlex.join(again)}"
        )
    return (
        f"stopped. {options.output} holds the checkpoint of {trained['seconds'] / 60:.1f} minutes; "
        f"go on with: {shlex.join(again)}"
    )


def _say(folder: str, model: PatientModel) -> None:
    said = f"{folder}: bank of {len(model.bank.poses)} renders"
    if model.training:
        error = model.training["history"][-1]["validation"]
        said += f", network trained on {model.training['images']:,} X-rays, validation error {error:.1f} mm"
    console.print(f"{said}.")
