"""What the command line says of the X-rays that a model is made for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.cli.xray_options import add_camera, read_parts
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS, PoseRange
from XVRegistrationLib.imaging.anatomies import load_presets, preset_named
from XVRegistrationLib.imaging.dicom.xray import whole
from XVRegistrationLib.registration.card import DEFAULT_SOD

if TYPE_CHECKING:
    from XVRegistrationLib.imaging.anatomies import Preset

_DEFAULT_SID, _DEFAULT_SIZE, _DEFAULT_SPACING = 1020.0, (512, 512), (0.76, 0.76)


@dataclass(frozen=True)
class View:
    """The X-rays that a model is made for."""

    intrinsics: Intrinsics
    name: str
    sod: float
    """mm."""
    pose_range: PoseRange


def add_view(p: argparse.ArgumentParser) -> None:
    """The nominal view, the range of poses about it, and the camera; or the anatomy for which these are usual."""
    p.add_argument(
        "--anatomy",
        metavar="NAME",
        help=f"view, ranges, SOD and SID that are usual, where they are not given: {', '.join(load_presets())}",
    )
    p.add_argument("--view", choices=VIEWS, default=None, help="nominal view (default: AP)")
    p.add_argument(
        "--rotation",
        type=float,
        nargs=3,
        default=None,
        metavar=("X", "Y", "Z"),
        help="range, +- degrees (default: 20 20 20)",
    )
    p.add_argument(
        "--translation",
        type=float,
        nargs=3,
        default=None,
        metavar=("X", "Y", "Z"),
        help="range, +- mm (default: 30 30 30)",
    )
    p.add_argument(
        "--geometry", metavar="XRAY", help="take SID, size, spacing, principal point and mirroring from this X-ray"
    )
    p.add_argument("--sid", type=float, default=None, help="distance source-detector, mm (default: 1020)")
    p.add_argument("--sod", type=float, default=None, help="distance source-isocentre, mm (default: 700)")
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
        help="X-rays are stored flipped left-right, as C-arms usually show PA views; by default as --geometry has it, else as is usual for --anatomy, else not",
    )
    add_camera(p)


def view_from(options: argparse.Namespace) -> View:
    """What the options say, or what is usual for the anatomy, or as it is by default."""
    usual = None if options.anatomy is None else preset_named(options.anatomy)
    return View(
        _intrinsics(options, usual),
        options.view or (usual.view if usual else "AP"),
        options.sod if options.sod is not None else usual.sod if usual else DEFAULT_SOD,
        _pose_range(options, usual),
    )


def _pose_range(options: argparse.Namespace, usual: Preset | None) -> PoseRange:
    """As the options say, or the anatomy, or as it is by default."""
    whole = PoseRange() if usual is None else PoseRange(usual.rotation, usual.translation)
    rotation, translation = options.rotation or whole.rotation, options.translation or whole.translation
    return PoseRange(tuple(rotation), tuple(translation))


def _intrinsics(options: argparse.Namespace, usual: Preset | None) -> Intrinsics:
    """From the X-ray that shows the geometry, or from the options, or what is usual for the anatomy."""
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
    sid = (usual.sid if usual else _DEFAULT_SID) if options.sid is None else options.sid
    spacing = _DEFAULT_SPACING if options.spacing is None else (options.spacing[0], options.spacing[1])
    mirrored = (usual.intrinsics.mirrored if usual else False) if options.mirrored is None else options.mirrored
    return Intrinsics.centered(sid, spacing, size, mirrored)
