"""What the command line says of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import read_label_names
from XVRegistrationLib.imaging.volumes.densities import read_densities
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    import argparse

_KINDS = "hu, attenuation, or vessels LOW HIGH"


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
    kind, *numbers = options.values or ["ct"]
    window = None
    if kind == "vessels":
        window = _window(numbers)
    elif numbers or kind not in ("ct", "hu", "attenuation"):
        raise InputError(f"--as takes {_KINDS}, not {' '.join(options.values)}.")
    if options.segmentation is not None and options.values:
        raise InputError("With --segmentation the volume's own values do not count; leave --as out.")
    for option, given in (("--label-names", options.label_names), ("--densities", options.densities)):
        if given is not None and options.segmentation is None:
            raise InputError(f"{option} needs the structures: give them with --segmentation.")
    return Reading(
        units="1/mm" if kind == "attenuation" else "HU",
        believed=kind == "hu",
        series=options.ct_series,
        background=options.not_scanned,
        vessels=window,
        segmentation=options.segmentation,
        label_names=None if options.label_names is None else tuple(read_label_names(options.label_names).items()),
        densities=None if options.densities is None else read_densities(options.densities),
    )


def _window(numbers: list[str]) -> tuple[float, float]:
    try:
        low, high = map(float, numbers)
    except ValueError:
        raise InputError(
            f"--as vessels needs two values, of what is no vessel and of a full one, not {' '.join(numbers) or 'none'}."
        ) from None
    return low, high
