"""Entry point of the `xvregistration` command: parsing, and errors as one sentence with exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import TYPE_CHECKING

import XVRegistrationLib
from XVRegistrationLib.cli.batch import add_batch
from XVRegistrationLib.cli.import_xvr import add_import_xvr
from XVRegistrationLib.cli.network_options import add_network
from XVRegistrationLib.cli.pretraining_options import add_finetune, add_models, add_pretrain
from XVRegistrationLib.cli.register_options import add_register
from XVRegistrationLib.cli.report import add_report
from XVRegistrationLib.cli.view_options import add_view
from XVRegistrationLib.cli.volume_options import add_reading
from XVRegistrationLib.cli.xray_options import (
    Help,
    add_bright,
    add_camera,
    add_ignore,
    add_lengths,
    add_subtraction,
    frame_of_text,
    in_words,
)
from XVRegistrationLib.errors import BAD_INPUT, InputError
from XVRegistrationLib.jobs.interpreter import wait_in_company
from XVRegistrationLib.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, or 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    wait_in_company()
    try:
        with warnings.catch_warnings():
            # pydicom's warnings quote what a header holds, which may be about a person.
            warnings.filterwarnings("ignore", module=r"pydicom\b")
            done = int(options.run(options))
            sys.stdout.flush()
            return done
    except InputError as e:
        print(f"xvregistration: {in_words(e)}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has; what is still in the buffer must not be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as e:
        print(f"\nxvregistration: {str(e) or 'stopped.'}", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="xvregistration",
        description="X-ray to CT registration. Research use only; not a medical device.",
        formatter_class=Help,
    )
    top.add_argument("--version", action="version", version=XVRegistrationLib.__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    add_pretrain(commands)
    add_finetune(commands)
    add_models(commands)
    add_register(commands)
    add_batch(commands)
    _add_export(commands)
    add_report(commands)
    _add_inspect(commands)
    _add_evaluate(commands)
    _add_jobs(commands)
    add_import_xvr(commands)
    _add_demo(commands)
    return top


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("train", help="learn a patient from a CT", formatter_class=Help)
    p.add_argument(
        "volume", metavar="CT", help="NIfTI, NRRD or MetaImage file, a folder of DICOM slices, or one of them"
    )
    p.add_argument("-o", "--output", required=True, metavar="MODEL", help="folder for the model")
    p.add_argument(
        "--minutes", type=float, default=None, help="time budget; 0 for a bank without a network (default: 5)"
    )
    add_view(p)
    p.add_argument("--device", default=None, help="cpu or cuda; by default a GPU where there is one")
    p.add_argument("--seed", type=int, default=0, help="of the network's start and the poses")
    p.add_argument("--resume", action="store_true", help="go on with the training in MODEL")
    p.add_argument("--background", action="store_true", help="train in a process of its own; see `xvregistration jobs`")
    p.add_argument(
        "--force",
        action="store_true",
        help="even if the CT is full of metal, or not of the part of the body of --anatomy",
    )
    add_network(p, NetworkSettings())
    add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.train import run

        return run(options)

    p.set_defaults(run=run)


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "export",
        help="write registrations for other programs",
        description="Transforms, matrices, calibrations and tables of registered X-rays; with --labels, structures on the X-ray "
        "as label map, picture and, for DICOM X-rays, DICOM segmentation; with --volume, a Slicer scene.",
        formatter_class=Help,
    )
    p.add_argument("results", nargs="+", metavar="RESULT.json", help="made by `xvregistration register`")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the files")
    p.add_argument("--xrays", nargs="+", metavar="XRAY", help="the X-rays, in the order of the results")
    p.add_argument(
        "--frame",
        type=frame_of_text,
        default=None,
        metavar="N",
        help="of X-rays that are runs: a number from 0, min, max or mean; by default the one that the result is called by",
    )
    add_subtraction(p)
    add_bright(p)
    p.add_argument("--volume", metavar="CT", help="the volume, as its file has it, for a Slicer scene (scene.mrb)")
    p.add_argument("--labels", metavar="LABELS", help="label map of the CT to draw on the X-rays")
    p.add_argument("--label-names", metavar="TABLE", help="CSV with the columns id and structure, or JSON")
    p.add_argument("--structures", nargs="+", metavar="NAME", help="only these structures")
    p.add_argument("--targets", metavar="FILE", help="planned points: CSV name,r,a,s in mm, or Slicer's .mrk.json")
    p.add_argument(
        "--keep-identity",
        action="store_true",
        help="DICOM segmentations keep patient and study of the X-ray; without it these are left empty",
    )

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.export import run

        return run(options)

    p.set_defaults(run=run)


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "inspect", help="say what is understood of a file, assumed and missing", formatter_class=Help
    )
    p.add_argument("file", metavar="FILE", help="an X-ray, a volume, structures, or a folder of DICOM slices")
    p.add_argument("-o", "--output", metavar="OUT.png", default=None, help="a picture of the steps, side by side")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    p.add_argument(
        "--frame",
        type=frame_of_text,
        default=None,
        metavar="N",
        help="of a run: a number from 0 (default), or min, max, mean over time",
    )
    add_subtraction(p)
    add_lengths(p)
    add_camera(p)
    add_bright(p)
    p.add_argument("--mirrored", action=argparse.BooleanOptionalAction, default=None, help="stored flipped left-right")
    add_ignore(p)
    add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.inspect import run

        return run(options)

    p.set_defaults(run=run)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "evaluate",
        help="measure success, errors and honesty on simulated X-rays or data with reference poses",
        formatter_class=Help,
    )
    p.add_argument("protocols", nargs="*", metavar="PROTOCOL", help="TOML files, or names that --list shows")
    p.add_argument("-o", "--output", default="evaluation-output", help="folder; each protocol gets one in it")
    p.add_argument("--list", action="store_true", help="show the protocols that come along")
    p.add_argument(
        "--count",
        type=int,
        default=None,
        metavar="N",
        help="X-rays, instead of the protocol's number; starts of the wrist",
    )
    p.add_argument(
        "--volume", default=None, metavar="CT", help="instead of the protocol's; points are its bones, or vessels"
    )
    p.add_argument("--sources", nargs="+", default=None, metavar="SOURCE", help="network, bank, or both")
    p.add_argument("--minutes", type=float, default=None, help="training of a network, instead of the protocol's")
    p.add_argument("--fresh", action="store_true", help="register again what was registered before")
    p.add_argument("--data", default=".demo-data", help="folder that keeps the downloaded CT")
    p.add_argument("--wrist", metavar="FOLDER", default=None, help="the biplane X-rays of a wrist")
    p.add_argument("--deepfluoro", metavar="FILE", default=None, help="DeepFluoro's HDF5 file")
    p.add_argument("--ljubljana", metavar="FOLDER", default=None, help="the Ljubljana cerebral angiograms")
    add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.evaluate import run

        return run(options)

    p.set_defaults(run=run)


def _add_jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "jobs",
        help="trainings in the background: list, cancel, resume, forget",
        formatter_class=Help,
    )
    p.add_argument("action", nargs="?", choices=["list", "cancel", "resume", "forget"], default="list")
    p.add_argument("id", nargs="*", default=[], metavar="ID", help="of the job, or how it begins or ends")
    p.add_argument(
        "--root", default=None, metavar="FOLDER", help="data folder (default: $XVREGISTRATION_HOME, or yours)"
    )
    p.add_argument("--minutes", type=float, default=None, help="new time budget of a job to resume")
    p.add_argument("--volume", default=None, metavar="CT", help="new place of the CT of a job to resume")

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.jobs import run

        return run(options)

    p.set_defaults(run=run)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("demo", help="the main job on a real CT", formatter_class=Help)
    p.add_argument("--minutes", type=float, default=1.0, help="training time; 0 registers by the bank alone")
    p.add_argument("--xrays", type=int, default=8, help="how many X-rays to simulate and register")
    p.add_argument("--seed", type=int, default=2026, help="of the X-rays' poses and detectors")
    p.add_argument("--kvp", type=float, help="X-rays of this tube voltage, 50 to 125 kV, instead of one energy")
    p.add_argument("-o", "--output", default="demo-output", help="folder for scene, pictures and report")
    p.add_argument("--data", default=".demo-data", help="folder that keeps the downloaded CT")

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.demo import run

        return run(options)

    p.set_defaults(run=run)


if __name__ == "__main__":
    sys.exit(main())
