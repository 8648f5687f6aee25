"""What the command line says of the X-rays that a model is made for."""

from __future__ import annotations

import argparse

from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.cli.xray_options import add_camera, read_parts
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS
from XVRegistrationLib.imaging.dicom.xray import whole

_DEFAULT_SID, _DEFAULT_SIZE, _DEFAULT_SPACING = 1020.0, (512, 512), (0.76, 0.76)


def add_view(p: argparse.ArgumentParser) -> None:
    """The nominal view, the range of poses about it, and the camera."""
    p.add_argument("--view", choices=VIEWS, default="AP", help="nominal view")
    p.add_argument(
        "--rotation", type=float, nargs=3, default=(20.0, 20.0, 20.0), metavar=("X", "Y", "Z"), help="range, +- degrees"
    )
    p.add_argument(
        "--translation", type=float, nargs=3, default=(30.0, 30.0, 30.0), metavar=("X", "Y", "Z"), help="range, +- mm"
    )
    p.add_argument(
        "--geometry", metavar="XRAY", help="take SID, size, spacing, principal point and mirroring from this X-ray"
    )
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
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="X-rays are stored flipped left-right, as C-arms usually show PA views; by default as --geometry has it, else not",
    )
    add_camera(p)


def intrinsics_from(options: argparse.Namespace) -> Intrinsics:
    """From the X-ray that shows the geometry, or from the options."""
    if options.geometry is not None:
        parts = read_parts(options.geometry, options, frame=0)  # any frame of a run shows its geometry
        xray = whole(parts, options.geometry)
        if parts.mirrored and parts.origins["mirrored"] == "assumed":
            console.print(
                f"{parts.name}: taken as stored mirrored, as C-arms usually show what they see from behind; "
                "if it is not, say --no-mirrored.",
                markup=False,
            )
        return xray.intrinsics
    if options.calibration or options.c_arm:
        raise InputError("--calibration and --c-arm complete what an X-ray states: give one with --geometry.")
    size = _DEFAULT_SIZE if options.size is None else (options.size[0], options.size[1])
    sid = _DEFAULT_SID if options.sid is None else options.sid
    spacing = _DEFAULT_SPACING if options.spacing is None else (options.spacing[0], options.spacing[1])
    return Intrinsics.centered(sid, spacing, size, bool(options.mirrored))
