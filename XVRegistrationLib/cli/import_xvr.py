"""`xvregistration import-xvr`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.volume_options import add_reading, reading_from
from XVRegistrationLib.cli.xray_options import Help
from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.networks.xvr_file import XvrCheckpoint, XvrRegistration

CENTER = "center"


def add_import_xvr(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The grammar of the command."""
    p = commands.add_parser(
        "import-xvr",
        help="use networks and results of xvr",
        description="Makes a model of an xvr checkpoint (.pth), whose network and bank `register` starts from, or a start for "
        "`register --start` of an xvr result (parameters.pt), without the half voxel that it is off. Nothing in the file is run.",
        formatter_class=Help,
    )
    p.add_argument("file", metavar="FILE", help="checkpoint (.pth) or parameters.pt")
    p.add_argument("volume", metavar="CT", help="that it was trained for, finetuned for, or registered to")
    p.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder for the model; JSON file for a result's pose"
    )
    p.add_argument(
        "--warp",
        metavar="TRANSFORM",
        default=None,
        help="of a checkpoint that predicts in a template's frame: the rigid ITK transform that registers the CT to the "
        f"template, as xvr's --warp; `{CENTER}` where the template's RAS has its origin in the CT's centre",
    )
    p.add_argument("--invert", action="store_true", help="use the inverse of the transform, as xvr's --invert")
    add_reading(p)

    def run_it(options: argparse.Namespace) -> int:
        return run(options)

    p.set_defaults(run=run_it)


def run(options: argparse.Namespace) -> int:
    """Write a model, or a start."""
    from XVRegistrationLib.cli.progress import say_notes
    from XVRegistrationLib.imaging.volume import read_volume
    from XVRegistrationLib.jobs.checks import check_new_folder
    from XVRegistrationLib.networks.xvr_file import XvrCheckpoint, read_xvr

    found = read_xvr(options.file)
    if isinstance(found, XvrCheckpoint):
        check_new_folder(options.output)
    elif options.warp is not None or options.invert:
        raise InputError(f"{options.file} is a result, which needs no --warp: it is in the volume's own frame.")
    volume = read_volume(options.volume, reading_from(options))
    say_notes(volume)
    if isinstance(found, XvrCheckpoint):
        _write_model(found, volume, options)
    else:
        _write_start(found, volume, options)
    return 0


def _write_model(checkpoint: XvrCheckpoint, volume: Volume, options: argparse.Namespace) -> None:
    from XVRegistrationLib.cli.progress import console, counting
    from XVRegistrationLib.geometry.xvr import centered_frame
    from XVRegistrationLib.jobs.import_xvr import import_xvr_network, read_warp

    frame = None
    if options.warp == CENTER:
        frame = centered_frame(volume.center)
    elif options.warp is not None:
        frame = read_warp(options.warp, options.invert)
    elif options.invert:
        raise InputError("--invert is of the transform that --warp names; give it.")
    with counting("Bank") as count:
        model = import_xvr_network(options.output, checkpoint, volume, frame, count)
    shifts = ", ".join(f"{x:g}" for x in model.pose_range.translation)
    turns = ", ".join(f"{x:g}" for x in model.pose_range.rotation)
    console.print(
        f"{options.output}: xvr's {checkpoint.network.settings.backbone} of {checkpoint.steps:,} steps, and a bank of "
        f"{len(model.bank.poses)} renders; {model.view.name}, +- {shifts} mm and +- {turns} degrees, "
        f"{model.intrinsics.size[0]} px{' mirrored' if model.intrinsics.mirrored else ''}.",
        markup=False,
    )


def _write_start(registration: XvrRegistration, volume: Volume, options: argparse.Namespace) -> None:
    from XVRegistrationLib.cli.progress import console
    from XVRegistrationLib.files import write_json
    from XVRegistrationLib.jobs.import_xvr import start_of_xvr

    path = Path(options.output)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file for the pose, such as start.json.")
    write_json(path, start_of_xvr(registration, volume))
    console.print(f"{path}: a pose for `xvregistration register --start`.", markup=False)
