"""What the command line says of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volumes.densities import read_densities
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.imaging.volume import Volume

_KINDS = "hu, attenuation, or vessels LOW HIGH"


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
    if options.densities is not None and options.segmentation is None:
        raise InputError("--densities needs the structures: give them with --segmentation.")
    return Reading(
        units="1/mm" if kind == "attenuation" else "HU",
        believed=kind == "hu",
        series=options.ct_series,
        background=options.not_scanned,
        vessels=window,
        segmentation=options.segmentation,
        densities=None if options.densities is None else read_densities(options.densities),
    )


def say_notes(volume: Volume) -> None:
    """Print what was found and done when the volume was read."""
    for note in volume.notes:
        console.print(f"{volume.name}: {note}", markup=False)


def _window(numbers: list[str]) -> tuple[float, float]:
    try:
        low, high = map(float, numbers)
    except ValueError:
        raise InputError(
            f"--as vessels needs two values, of what is no vessel and of a full one, not {' '.join(numbers) or 'none'}."
        ) from None
    return low, high
