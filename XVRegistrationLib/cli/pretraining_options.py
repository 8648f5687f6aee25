"""The grammar of `xvregistration pretrain`, `finetune` and `models`."""

from __future__ import annotations

import argparse

from XVRegistrationLib.cli.network_options import add_network
from XVRegistrationLib.cli.view_options import add_view
from XVRegistrationLib.cli.volume_options import add_reading
from XVRegistrationLib.cli.xray_options import Help
from XVRegistrationLib.jobs.pretraining_plan import PRETRAINED_NETWORK

Commands = argparse._SubParsersAction


def add_pretrain(commands: Commands[argparse.ArgumentParser]) -> None:
    """`pretrain`: learn a part of the body from many CTs."""
    p = commands.add_parser("pretrain", help="learn a part of the body from many CTs", formatter_class=Help)
    p.add_argument("folder", metavar="FOLDER", help="with the CTs: volume files, and folders of DICOM slices")
    p.add_argument("-o", "--output", required=True, metavar="MODEL", help="folder for the model")
    p.add_argument(
        "--template", metavar="CT", help="the CT that all are registered to (default: the first file of FOLDER)"
    )
    p.add_argument("--minutes", type=float, default=None, help="time budget after the preparation (default: 60)")
    add_view(p)
    p.add_argument(
        "--device", default=None, help="cpu or cuda; by default a GPU where there is one, under torchrun its own"
    )
    p.add_argument("--seed", type=int, default=0, help="of the network's start and the poses")
    p.add_argument("--resume", action="store_true", help="go on with the pretraining in MODEL")
    p.add_argument(
        "--background", action="store_true", help="in a process of its own, without a team; see `xvregistration jobs`"
    )
    p.add_argument(
        "--no-pictures",
        dest="pictures",
        action="store_false",
        help="do not draw each CT on the template, in MODEL/prepared",
    )
    add_network(p, PRETRAINED_NETWORK)
    add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.pretrain import run

        return run(options)

    p.set_defaults(run=run)


def add_finetune(commands: Commands[argparse.ArgumentParser]) -> None:
    """`finetune`: learn a patient, from what a network has learnt of others."""
    p = commands.add_parser(
        "finetune", help="learn a patient, from what a network knows of others", formatter_class=Help
    )
    p.add_argument(
        "pretrained",
        metavar="LEARNT",
        help="folder that `pretrain` has made, or `train` or `finetune` for another patient",
    )
    p.add_argument("volume", metavar="CT", help="of the patient, as for `train`")
    p.add_argument("-o", "--output", required=True, metavar="MODEL", help="folder for the patient's model")
    p.add_argument(
        "--template",
        metavar="CT",
        help="where LEARNT is of another patient: the CT of that one, if it is no longer where it was",
    )
    p.add_argument("--minutes", type=float, default=1.0, help="time budget; 0 for the network as it is")
    p.add_argument(
        "--picture",
        metavar="OUT.png",
        help="draw the CT on the template here, also where it is refused (default: MODEL/preregistration.png)",
    )
    p.add_argument(
        "--force",
        action="store_true",
        help="even if the CT is full of metal, of another part of the body, or does not register to the template",
    )
    p.add_argument("--device", default=None, help="cpu or cuda; by default a GPU where there is one")
    p.add_argument("--seed", type=int, default=0, help="of the poses")
    p.add_argument("--background", action="store_true", help="train in a process of its own; see `xvregistration jobs`")
    add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.finetune import run

        return run(options)

    p.set_defaults(run=run)


def add_models(commands: Commands[argparse.ArgumentParser]) -> None:
    """`models`: what a folder of models holds."""
    p = commands.add_parser("models", help="list the models in a folder", formatter_class=Help)
    p.add_argument("folder", nargs="?", default=None, metavar="FOLDER", help="default: the panel's library")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.models import run

        return run(options)

    p.set_defaults(run=run)
