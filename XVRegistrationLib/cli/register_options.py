"""The words of `xvregistration register`."""

from __future__ import annotations

import argparse

from XVRegistrationLib.cli.xray_options import (
    Help,
    add_bright,
    add_camera,
    add_ignore,
    add_lengths,
    add_subtraction,
    frame_of_text,
)
from XVRegistrationLib.geometry.views import PRESETS


def add_register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`register`, among the commands."""
    p = commands.add_parser("register", help="find the pose of X-rays", formatter_class=Help)
    p.add_argument("model", metavar="MODEL", help="folder made by `xvregistration train`")
    p.add_argument(
        "xrays",
        nargs="+",
        metavar="XRAY",
        help="DICOM files, or images with --sid and --spacing; of a folder all files in it, by name",
    )
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder for NAME.json and NAME.png; a file that cannot be used leaves the reason in FILE.json, and a try that "
        "failed is called NAME.failed where a better result is there",
    )
    p.add_argument("--volume", metavar="CT", help="the CT, if it is no longer where the model was trained")
    p.add_argument(
        "--other-volume",
        action="store_true",
        help="take --volume even if it is another one than the model was made for: a later CT that lies as that did",
    )
    p.add_argument(
        "--labels",
        metavar="LABELS",
        help="structures to draw on the X-rays: label map, .seg.nrrd or DICOM segmentation",
    )
    p.add_argument("--label-names", metavar="TABLE", help="CSV with the columns id and structure, or JSON")
    p.add_argument("--structures", nargs="+", metavar="NAME", help="draw only these structures")
    p.add_argument(
        "--attention",
        action="store_true",
        help="write NAME-attention.png too: where a network trained with --network psss looks on the X-ray",
    )
    add_lengths(p)
    add_camera(p, several=True)
    add_bright(p)
    p.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="X-rays are stored flipped left-right; by default as the model's were",
    )
    p.add_argument(
        "--frame",
        type=frame_of_text,
        default=None,
        metavar="N",
        help="of a file with several: a number from 0, or min, max or mean over the run of the radiation at each pixel (min "
        "shows vessels as if filled at once), or all: each file's frames in turn, single images as they are; with --series a "
        "range A:B, without B itself",
    )
    add_subtraction(p)
    _add_starts(p)

    def run(options: argparse.Namespace) -> int:
        from XVRegistrationLib.cli.register import run

        return run(options)

    p.set_defaults(run=run)


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
        help="start from landmarks too: columns r,a,s,column,row (mm RAS, stored px); four or more of one X-ray, of a run its "
        "first frame",
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
    add_ignore(known)
    known.add_argument(
        "--relative",
        metavar="FILE.json",
        help='register all X-rays together: {"relative": [4x4, ...]}, pose of each = pose of the first @ its relation, in the '
        "order of the X-rays, the first being the identity; or the word `calibration`, for where --calibration says that "
        "they stood; with --series, of runs",
    )
    known.add_argument(
        "--series",
        action="store_true",
        help="X-rays are frames of one run, in order, or one file of several frames; with --relative each file is the run of "
        "one camera, and frames of one number are registered together; with --surroundings none may jump",
    )
