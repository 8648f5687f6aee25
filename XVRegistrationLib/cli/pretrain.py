"""`xvregistration pretrain`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.cli.network_options import network_from
from XVRegistrationLib.cli.progress import console, counting, training
from XVRegistrationLib.cli.view_options import view_from
from XVRegistrationLib.cli.volume_options import reading_from
from XVRegistrationLib.errors import BAD_INPUT, InputError
from XVRegistrationLib.jobs.home import PLAN
from XVRegistrationLib.jobs.pretrain import pretrain, pretrain_in_background, start_pretraining
from XVRegistrationLib.jobs.pretraining_plan import PRETRAINED_NETWORK, Plan, find_volumes
from XVRegistrationLib.jobs.train_patient import check_device
from XVRegistrationLib.registration.card import read_pretrained_card
from XVRegistrationLib.training.team import RefusedElsewhereError, Team, team

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from XVRegistrationLib.jobs.prepare_patients import Preparation
    from XVRegistrationLib.registration.pretrained import PretrainedModel
    from XVRegistrationLib.training.trainer import Progress

_DEFAULT_MINUTES = 60.0
_TO_SAY_IT = 2.0
"""Seconds that a process waits that was refused what another one says: torchrun ends all of them as soon as one has ended."""


def run(options: argparse.Namespace) -> int:
    """Pretrain, or go on with it; under `torchrun` as one of several processes, of which the first one talks."""
    if options.background:
        check_device(options.device)
        if not options.resume:
            start_pretraining(options.output, _plan(options))
        job = pretrain_in_background(options.output, minutes=options.minutes, device=options.device)
        console.print(f"{job.id} pretrains in the background: see `xvregistration jobs`.")
        return 0
    with team() as crew:
        console.quiet = not crew.first
        try:
            model = _pretrained(options, crew)
        except RefusedElsewhereError:
            time.sleep(_TO_SAY_IT)
            return BAD_INPUT
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_go_on(options)) from None
    error = model.training["history"][-1]["validation"]
    console.print(
        f"{options.output}: a network for {model.anatomy or 'this part of the body'}, trained on "
        f"{model.training['images']:,} X-rays of {model.patients} patients, validation error {error:.1f} mm."
    )
    return 0


def _pretrained(options: argparse.Namespace, crew: Team) -> PretrainedModel:
    with crew.together():
        plan = None if options.resume else _plan(options)
    with ExitStack() as stack:
        how: dict[str, Any] = {
            "device": options.device,
            "team": crew,
            "preparing": stack.enter_context(counting("CTs")),
            "on_prepared": _say,
        }
        return pretrain(options.output, plan, minutes=options.minutes, progress=_Later(stack), **how)


class _Later:
    """The training's bar, drawn from its first report on: until then the bar of the preparation is."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._update: Callable[[Progress], None] | None = None

    def __call__(self, progress: Progress) -> None:
        if self._update is None:
            self._stack.pop_all().close()
            self._update = self._stack.enter_context(training())
        self._update(progress)


def _plan(options: argparse.Namespace) -> Plan:
    view, volumes = view_from(options), find_volumes(options.folder)
    network = network_from(options, PRETRAINED_NETWORK) or PRETRAINED_NETWORK
    minutes = _DEFAULT_MINUTES if options.minutes is None else options.minutes
    return Plan(
        volumes,
        volumes[0] if options.template is None else str(Path(options.template).absolute()),
        view.intrinsics,
        view.name,
        view.sod,
        view.pose_range,
        options.anatomy or "",
        reading_from(options),
        network,
        60 * minutes,
        options.seed,
        options.pictures,
    )


def _say(prepared: Preparation) -> None:
    console.print(f"{len(prepared.patients)} CTs to learn from.")
    for path, why in prepared.left_out:
        console.print(f"Left out: {Path(path).name}: {why}", markup=False)


def _how_to_go_on(options: argparse.Namespace) -> str:
    try:
        minutes = read_pretrained_card(options.output)["training"]["seconds"] / 60
        kept = f"{options.output} holds the checkpoint of {minutes:.1f} minutes"
    except InputError:
        if not (Path(options.output) / PLAN).exists():
            return "stopped before anything was saved."
        kept = f"{options.output} holds the CTs that were ready"
    return f"stopped. {kept}; go on with the same command and --resume."
