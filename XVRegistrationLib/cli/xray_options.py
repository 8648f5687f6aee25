"""What the command line says of an X-ray beyond its file: the same words for every command that reads one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.c_arms import c_arm, c_arms
from XVRegistrationLib.geometry.calibrations import read_calibration
from XVRegistrationLib.imaging.completed import with_c_arm, with_calibration
from XVRegistrationLib.imaging.dicom.subtraction import frames_of_text
from XVRegistrationLib.imaging.xray import BRIGHT
from XVRegistrationLib.imaging.xray_files import read_xray_parts

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
    from XVRegistrationLib.imaging.dicom.subtraction import Subtract
    from XVRegistrationLib.imaging.partial import PartialXray

EACH = "all"
"""The frame that stands for each of a file's."""


OPTIONS = {
    "sid": "--sid MM",
    "spacing": "--spacing DX DY",
    "frame": "--frame N, --frame all, or --series for a run",
    "undistorted": "--undistorted",
    "mirrored": "--mirrored, --no-mirrored",
    "series": "--ct-series SERIES",
    "believed": "--as hu",
    "attenuation": "--as attenuation",
    "vessels": "--as vessels LOW HIGH",
    "background": "--not-scanned VALUE",
    "segmentation": "--segmentation FILE",
    "label_names": "--label-names TABLE",
    "densities": "--densities TABLE.json",
    "resume": "--resume",
    "volume": "--volume FILE",
    "forced": "--force",
}
"""Arguments of the library that an InputError asks for -> how the command line takes them."""


def in_words(error: InputError) -> str:
    """What an error says, with the options that it is about, also where another error was made of it."""
    found: list[str] = []
    cause: BaseException | None = error
    while isinstance(cause, InputError):
        found += [OPTIONS[name] for name in cause.give]
        cause = cause.__cause__
    return f"{error} (Options: {', '.join(dict.fromkeys(found))}.)" if found else str(error)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something, once."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help or ""
        silent = action.default is None or isinstance(action.default, bool) or "default" in said
        return said if silent else super()._get_help_string(action)


def add_lengths(p: argparse._ActionsContainer) -> None:
    """--sid and --spacing."""
    p.add_argument("--sid", type=float, default=None, help="distance source-detector, mm, where a file does not say")
    p.add_argument("--spacing", type=float, nargs=2, default=None, metavar=("DX", "DY"), help="on the detector, mm")


def add_bright(p: argparse._ActionsContainer) -> None:
    """--bright."""
    p.add_argument(
        "--bright",
        choices=tuple(BRIGHT),
        default=None,
        help="what bright pixels are: much radiation (bone is dark), or dense (bone is bright); without it the file's header "
        "says, or a picture itself where that is certain, or dense is assumed",
    )


def add_camera(p: argparse._ActionsContainer, several: bool = False) -> None:
    """--calibration, with its unit and whether images are undistorted, and --c-arm."""
    p.add_argument(
        "--calibration",
        action="append" if several else "store",
        metavar="FILE",
        help="the camera's MayaCam 1, MayaCam 2 or OpenCV file"
        + ("; once for all X-rays, or once for each" if several else ""),
    )
    p.add_argument(
        "--calibration-unit", type=float, default=1.0, metavar="MM", help="length of the unit of --calibration"
    )
    p.add_argument("--undistorted", action="store_true", help="the images are free of the distortion in --calibration")
    p.add_argument("--c-arm", metavar="NAME", help=f"take what a file lacks from a C-arm: {', '.join(c_arms())}")


def add_ignore(p: argparse._ActionsContainer) -> None:
    """--ignore."""
    p.add_argument(
        "--ignore",
        action="append",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="leave out a rectangle of pixels as stored, such as burned-in text; may be repeated",
    )


def add_subtraction(p: argparse._ActionsContainer) -> None:
    """--subtract and --mask-frames."""
    p.add_argument(
        "--subtract",
        action="store_true",
        help="subtract the mask frames that a DICOM run names: what is left is contrast medium",
    )
    p.add_argument(
        "--mask-frames",
        type=_mask_of_text,
        default=None,
        metavar="FRAMES",
        help="subtract the mean of these frames of a run, from 0, such as 0-3 or 0,2,5, whatever its file names",
    )


def subtraction_of(options: argparse.Namespace) -> Subtract:
    """What the options of `add_subtraction` say, as `read_xray_parts` takes it."""
    mask: tuple[int, ...] | None = options.mask_frames
    return bool(options.subtract) if mask is None else mask


def _mask_of_text(text: str) -> tuple[int, ...]:
    try:
        return frames_of_text(text)
    except InputError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def frame_of_text(text: str) -> int | str | slice:
    """A frame's number, what to make of all, `EACH` of them, or a range A:B."""
    try:
        if ":" in text:
            first, last = text.split(":")
            return slice(int(first) if first else None, int(last) if last else None)
        return text if text in ("min", "max", "mean", EACH) else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number, min, max, mean or all, nor a range A:B"
        ) from None


def one_frame(options: argparse.Namespace) -> int | str | None:
    """--frame of a command that looks at one image of a run; InputError for what means several."""
    if isinstance(options.frame, slice) or options.frame == EACH:
        raise InputError("--frame takes a number, min, max or mean here.")
    frame: int | str | None = options.frame
    return frame


def said_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options as `read_xray_parts` and `read_run` take them."""
    spacing = None if options.spacing is None else (options.spacing[0], options.spacing[1])
    bright = getattr(options, "bright", None)
    scale = None if bright is None else BRIGHT[bright]
    return {"sid": options.sid, "spacing": spacing, "mirrored": options.mirrored, "scale": scale}


def read_parts(
    path: str, options: argparse.Namespace, frame: int | str | None, subtract: Subtract = False
) -> PartialXray:
    """What is known of one X-ray by its file, and by the options of `add_lengths`, `add_bright` and `add_camera`."""
    parts = of_c_arm(read_xray_parts(path, frame=frame, subtract=subtract, **said_of(options)), options)
    return parts if not options.calibration else with_calibration(parts, camera(options.calibration, parts, options))


def of_c_arm(parts: PartialXray, options: argparse.Namespace) -> PartialXray:
    """The X-ray with what its file lacks and the C-arm that the options name has."""
    return parts if options.c_arm is None else with_c_arm(parts, c_arm(options.c_arm))


def camera(file: str, parts: PartialXray, options: argparse.Namespace) -> CalibratedCamera:
    """The calibration of an X-ray in a file."""
    return read_calibration(file, size=parts.size, undistorted=options.undistorted, unit=options.calibration_unit)
