"""What the command line says of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.imaging.volumes.said import reading_said

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.imaging.volumes.reading import Reading


def add_reading(p: argparse.ArgumentParser) -> None:
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
    group.add_argument(
        "--label-names",
        metavar="TABLE",
        help="names of its labels, where it is a label map: CSV with the columns id and structure, or JSON",
    )
    group.add_argument("--densities", metavar="TABLE.json", help='HU of structures, {"femur*": 650, ...}')


def reading_from(options: argparse.Namespace) -> Reading:
    """How the volume is to be read; InputError for options that contradict each other."""
    return reading_said(
        options.values or (),
        series=options.ct_series,
        background=options.not_scanned,
        segmentation=options.segmentation,
        label_names=options.label_names,
        densities=options.densities,
        option="--",
    )
