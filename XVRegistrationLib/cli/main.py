"""Entry point of the `xvregistration` command: parsing, and errors as one sentence with exit code 2."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import TYPE_CHECKING

import XVRegistrationLib
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.c_arms import c_arms
from XVRegistrationLib.geometry.views import PRESETS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, or 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # pydicom's warnings quote what a header holds, which may be about a person.
            warnings.filterwarnings("ignore", module=r"pydicom\b")
            return int(options.run(options))
    except InputError as e:
        print(f"xvregistration: {e}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as e:
        print(f"\nxvregistration: {str(e) or 'stopped.'}", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="xvregistration",
        description="X-ray to CT registration. Research use only; not a medical device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    top.add_argument("--version", action="version", version=XVRegistrationLib.__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_register(commands)
    _add_export(commands)
    _add_inspect(commands)
    _add_evaluate(commands)
    _add_jobs(commands)
    _add_demo(commands)
    return top


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "train", help="learn a patient from a CT", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument(
        "volume", metavar="CT", help="NIfTI, NRRD or MetaImage file, a folder of DICOM slices, or one of them"
    )
    p.add_argument("-o", "--output", required=True, metavar="MODEL", help="folder for the model")
    p.add_argument(
        "--minutes", type=float, default=None, help="time budget; 0 for a bank without a network (default: 5)"
    )
    p.add_argument("--view", choices=VIEWS, default="AP", help="nominal view")
    p.add_argument(
        "--rotation", type=float, nargs=3, default=(20.0, 20.0, 20.0), metavar=("X", "Y", "Z"), help="range, +- degrees"
    )
    p.add_argument(
        "--translation", type=float, nargs=3, default=(30.0, 30.0, 30.0), metavar=("X", "Y", "Z"), help="range, +- mm"
    )
    p.add_argument("--geometry", metavar="XRAY.dcm", help="take SID, size and spacing from this X-ray")
    p.add_argument("--sid", type=float, default=None, help="distance source-detector, mm (default: 1020)")
    p.add_argument("--sod", type=float, default=700.0, help="distance source-isocentre, mm")
    p.add_argument("--size", type=int, nargs=2, default=None, metavar=("W", "H"), help="pixels (default: 512 512)")
    p.add_argument(
        "--spacing",
        type=float,
        nargs=2,
        default=None,
        metavar=("DX", "DY"),
        help="on the detector, mm (default: 0.76 0.76)",
    )
    p.add_argument(
        "--mirrored", action="store_true", help="X-rays are stored flipped left-right (usual for PA C-arm views)"
    )
    p.add_argument("--device", default=None, help="cpu or cuda; by default a GPU where there is one")
    p.add_argument("--seed", type=int, default=0, help="of the network's start and the poses")
    p.add_argument("--resume", action="store_true", help="go on with the training in MODEL")
    p.add_argument("--background", action="store_true", help="train in a process of its own; see `xvregistration jobs`")
    _add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.train import run

        return run(options)

    p.set_defaults(run=run)


def _add_reading(p: argparse.ArgumentParser) -> None:
    """What is known of the volume beyond its file; a model remembers it, and so does an evaluation."""
    group = p.add_argument_group("what the volume is", "Without these it is a CT in Hounsfield units.")
    group.add_argument(
        "--ct-series",
        metavar="SERIES",
        help="which DICOM series of the folder: its number, description or UID (FOLDER#NUMBER is the same)",
    )
    group.add_argument(
        "--as",
        dest="values",
        nargs="+",
        metavar="KIND",
        help="what its values are: hu (whatever they look like), attenuation (1/mm), or vessels LOW HIGH: an angiogram "
        "with these values for what is no vessel and for one full of contrast agent, for subtracted X-rays",
    )
    group.add_argument(
        "--not-scanned", type=float, metavar="VALUE", help="value of voxels that were not scanned or cut away: air"
    )
    group.add_argument(
        "--segmentation",
        metavar="FILE",
        help="take densities from its structures, as for MR: label map, .seg.nrrd, DICOM SEG",
    )
    group.add_argument("--densities", metavar="TABLE.json", help='HU of structures, {"femur*": 650, ...}')


def _add_register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "register", help="find the pose of X-rays", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("model", metavar="MODEL", help="folder made by `xvregistration train`")
    p.add_argument("xrays", nargs="+", metavar="XRAY", help="DICOM files, or images with --sid and --spacing")
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder for NAME.json and NAME.png; a try that failed is called NAME.failed where a better result is there",
    )
    p.add_argument("--volume", metavar="CT", help="the CT, if it is no longer where the model was trained")
    p.add_argument(
        "--labels",
        metavar="LABELS",
        help="structures to draw on the X-rays: label map, .seg.nrrd or DICOM segmentation",
    )
    p.add_argument("--label-names", metavar="TABLE", help="CSV with the columns id and structure, or JSON")
    p.add_argument("--structures", nargs="+", metavar="NAME", help="draw only these structures")
    p.add_argument("--sid", type=float, default=None, help="distance source-detector, mm, where a file does not say")
    p.add_argument("--spacing", type=float, nargs=2, default=None, metavar=("DX", "DY"), help="on the detector, mm")
    p.add_argument(
        "--calibration",
        action="append",
        metavar="FILE",
        help="the camera's MayaCam 1, MayaCam 2 or OpenCV file; once for all X-rays, or once for each",
    )
    p.add_argument(
        "--calibration-unit", type=float, default=1.0, metavar="MM", help="length of the unit of --calibration"
    )
    p.add_argument("--undistorted", action="store_true", help="the images are free of the distortion in --calibration")
    p.add_argument("--c-arm", metavar="NAME", help=f"take what a file lacks from a C-arm: {', '.join(c_arms())}")
    p.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="X-rays are stored flipped left-right; by default as the model's were",
    )
    p.add_argument(
        "--frame",
        type=_frame,
        default=None,
        metavar="N",
        help="of a file with several: a number from 0, or min, max or mean over the run of the radiation at each pixel (min "
        "shows vessels as if filled at once), or all: each file's frames in turn, single images as they are; with --series a "
        "range A:B, without B itself",
    )
    p.add_argument(
        "--subtract",
        action="store_true",
        help="subtract the mask frames that a DICOM run names: what is left is contrast",
    )
    _add_starts(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.register import run

        return run(options)

    p.set_defaults(run=run)


def _frame(text: str) -> int | str | slice:
    """A frame's number, a word for all, or a range A:B."""
    try:
        if ":" in text:
            first, last = text.split(":")
            return slice(int(first) if first else None, int(last) if last else None)
        return text if text in ("min", "max", "mean", "all") else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number, min, max, mean or all, nor a range A:B"
        ) from None


def _add_starts(p: argparse.ArgumentParser) -> None:
    """What is known of the poses, and of the images, beforehand."""
    known = p.add_argument_group(
        "what is known beforehand", "The C-arm's angles in a DICOM header are always a start, but with --start."
    )
    known.add_argument(
        "--preset",
        action="append",
        choices=PRESETS,
        metavar="NAME",
        help=f"start from a usual view too; may be repeated; one of {', '.join(PRESETS)}",
    )
    known.add_argument(
        "--landmarks",
        metavar="FILE.csv",
        help="start from landmarks too: columns r,a,s,column,row (mm RAS, stored px); four or more of one X-ray",
    )
    known.add_argument(
        "--start", metavar="FILE.json", help='refine from this pose alone: an earlier result, or {"pose": 4x4}'
    )
    known.add_argument(
        "--depth",
        type=float,
        nargs=2,
        default=None,
        metavar=("MM", "SD"),
        help="distance from the source to the volume's centre along the beam, and its standard deviation; 0 locks it",
    )
    known.add_argument(
        "--surroundings", action="store_true", help="the X-ray shows more than the volume: one bone among others"
    )
    known.add_argument(
        "--mask",
        action="append",
        metavar="IMAGE",
        help="pixels that are not zero here count (PNG, TIFF, NIfTI); once for all X-rays, or once for each",
    )
    _add_ignore(known)
    known.add_argument(
        "--relative",
        metavar="FILE.json",
        help='register all X-rays together: {"relative": [4x4, ...]}, pose of each = pose of the first @ its relation, in the '
        "order of the X-rays, the first being the identity; or the word `calibration`, for where --calibration says that "
        "they stood",
    )
    known.add_argument(
        "--series",
        action="store_true",
        help="X-rays are frames of one run, in order, or one file of several frames; with --surroundings none may jump",
    )


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "export",
        help="write registrations for other programs",
        description="Transforms, matrices, calibrations and tables of registered X-rays; with --labels, structures on the X-ray "
        "as label map, picture and, for DICOM X-rays, DICOM segmentation; with --volume, a Slicer scene.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("results", nargs="+", metavar="RESULT.json", help="made by `xvregistration register`")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for the files")
    p.add_argument("--xrays", nargs="+", metavar="XRAY", help="the X-rays, in the order of the results")
    p.add_argument("--frame", type=int, default=None, metavar="N", help="of X-rays that are runs, counted from 0")
    p.add_argument("--volume", metavar="CT", help="the CT, for a Slicer scene (scene.mrb)")
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
    p = commands.add_parser("inspect", help="say what is understood of an X-ray or a volume, assumed and missing")
    p.add_argument("file", metavar="FILE", help="an X-ray, a volume, or a folder of DICOM slices")
    p.add_argument("-o", "--output", metavar="OUT.png", default=None, help="a picture of the steps, side by side")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    p.add_argument(
        "--frame", default=None, metavar="N", help="of a run: a number from 0 (default), or min, max, mean over time"
    )
    p.add_argument("--sid", type=float, default=None, help="distance source-detector, mm, where the file does not say")
    p.add_argument("--spacing", type=float, nargs=2, default=None, metavar=("DX", "DY"), help="on the detector, mm")
    p.add_argument("--mirrored", action=argparse.BooleanOptionalAction, default=None, help="stored flipped left-right")
    _add_ignore(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.inspect import run

        return run(options)

    p.set_defaults(run=run)


def _add_ignore(p: argparse._ActionsContainer) -> None:
    p.add_argument(
        "--ignore",
        action="append",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="leave out a rectangle of pixels as stored, such as burned-in text; may be repeated",
    )


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "evaluate",
        help="measure success, errors and honesty on simulated X-rays or data with reference poses",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
    _add_reading(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.evaluate import run

        return run(options)

    p.set_defaults(run=run)


def _add_jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "jobs",
        help="trainings in the background: list, cancel, resume, forget",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
    p = commands.add_parser(
        "demo", help="the main job on a real CT", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--minutes", type=float, default=5.0, help="training time; 0 registers by the bank alone")
    p.add_argument("--xrays", type=int, default=8, help="how many X-rays to simulate and register")
    p.add_argument("--seed", type=int, default=2026, help="of the X-rays' poses and detectors")
    p.add_argument("-o", "--output", default="demo-output", help="folder for scene, pictures and report")
    p.add_argument("--data", default=".demo-data", help="folder that keeps the downloaded CT")

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.demo import run

        return run(options)

    p.set_defaults(run=run)


if __name__ == "__main__":
    sys.exit(main())
