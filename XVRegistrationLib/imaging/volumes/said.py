"""What a user's words say of a volume beyond its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import read_label_names
from XVRegistrationLib.imaging.volumes.densities import read_densities
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = "hu, attenuation, or vessels LOW HIGH"


def reading_said(
    values: Sequence[str] = (),
    *,
    series: str | None = None,
    background: float | None = None,
    segmentation: str | None = None,
    label_names: str | None = None,
    densities: str | None = None,
    option: str = "",
) -> Reading:
    """How a volume is to be read whose `values` are "hu", "attenuation", or "vessels" with two numbers.

    `option` is put before the words "as", "segmentation", "label-names" and "densities" in what an InputError says of those
    that contradict each other.
    """
    kind, *numbers = values or ["ct"]
    window = None
    if kind == "vessels":
        window = _window(numbers, option)
    elif numbers or kind not in ("ct", "hu", "attenuation"):
        raise InputError(f"{option}as takes {_KINDS}, not {' '.join(values)}.")
    if segmentation is not None and values:
        raise InputError(f"With {option}segmentation the volume's own values do not count; leave {option}as out.")
    for name, given in (("label-names", label_names), ("densities", densities)):
        if given is not None and segmentation is None:
            raise InputError(f"{option}{name} needs the structures: give them with {option}segmentation.")
    return Reading(
        units="1/mm" if kind == "attenuation" else "HU",
        believed=kind == "hu",
        series=series,
        background=background,
        vessels=window,
        segmentation=segmentation,
        label_names=None if label_names is None else tuple(read_label_names(label_names).items()),
        densities=None if densities is None else read_densities(densities),
    )


def _window(numbers: Sequence[str], option: str) -> tuple[float, float]:
    try:
        low, high = map(float, numbers)
    except ValueError:
        raise InputError(
            f"{option}as vessels needs two values, of what is no vessel and of a full one, not "
            f"{' '.join(numbers) or 'none'}."
        ) from None
    return low, high
