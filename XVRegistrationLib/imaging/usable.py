"""Which pixels of an X-ray say something: not collimated, not saturated, no text or marker."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.collimation import collimated
from XVRegistrationLib.imaging.markers import marked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Xray

_LEAST_SHARE = 0.01  # of the image: fewer pixels at the highest value are noise, not saturation
_MOST_SATURATED = 0.9  # of the image: more is an image without anything in it
_LEAST_LEFT = 0.02
_REMEMBERED = 1 << 25  # pixels
_FOUND: OrderedDict[bytes, LeftOut] = OrderedDict()
"""What was found of the last X-rays, by what they hold: an image is registered, compared and reported."""
_OF: WeakKeyDictionary[Xray | PartialXray, LeftOut] = WeakKeyDictionary()
"""The same by the X-ray itself, whose pixels nobody changes: a digest of a large image takes a tenth of a second."""
_REMEMBERING = threading.Lock()
"""For both: the engine writes the files of one X-ray in a thread of its own while it draws another."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Why pixels (H, W) of an X-ray do not count; one may do so for several reasons."""

    collimated: NDArray[np.bool_]
    """Behind blades, outside of an iris or a round field, or under a shutter that was drawn."""
    saturated: NDArray[np.bool_]
    """At the very highest value, where many pixels are."""
    marked: NDArray[np.bool_]
    """Burned-in text and lead markers."""
    by_the_file: NDArray[np.bool_]
    """What the file says to leave out."""

    @property
    def any(self) -> NDArray[np.bool_]:
        """(H, W) pixels that do not count."""
        return self.collimated | self.saturated | self.marked | self.by_the_file


def left_out(xray: Xray | PartialXray) -> LeftOut:
    """What is found not to count, and what the file says so of. Raises InputError for an X-ray without content.

    It is found once for the same pixels, unless many others have come since.
    """
    with _REMEMBERING:
        found = _OF.get(xray)
    if found is not None:
        return found
    key = _content_of(xray)
    with _REMEMBERING:
        found = _FOUND.pop(key, None)
    found = found or _left_out(xray)
    with _REMEMBERING:
        _FOUND[key] = _OF[xray] = found
        while len(_FOUND) > 1 and sum(other.collimated.size for other in _FOUND.values()) > _REMEMBERED:
            _FOUND.popitem(last=False)
    return found


def _content_of(xray: Xray | PartialXray) -> bytes:
    """A digest of all that `left_out` looks at."""
    pixels = np.asarray(xray.pixels)
    mask = None if xray.mask is None else xray.mask.dtype.str
    said = f"{pixels.shape} {pixels.dtype.str} {xray.scale} {_aspect(xray)} {mask}"
    digest = hashlib.blake2b(said.encode(), digest_size=16)
    digest.update(pixels.tobytes())
    if xray.mask is not None:
        digest.update(xray.mask.tobytes())
    return digest.digest()


def no_radiation(xray: Xray | PartialXray) -> float:
    """The grey value that stands for no radiation in an X-ray of intensities: 0, or the lowest of one with negative values.

    These are intensities with an offset. Not so where all negative pixels have one value, or one far below all others:
    that is padding.
    """
    pixels = np.asarray(xray.pixels)
    if xray.scale == "attenuation" or pixels.min() >= 0:
        return 0.0
    values = pixels.ravel() if xray.mask is None or not xray.mask.any() else pixels[xray.mask]
    rest = values[values > values.min()]
    if rest.size and (
        rest.min() >= 0 or float(rest.min()) - float(values.min()) > float(rest.max()) - float(rest.min())
    ):
        values = rest
    return min(0.0, float(np.percentile(values, 0.1)))


def _left_out(xray: Xray | PartialXray) -> LeftOut:
    check_shows(xray)
    pixels = np.asarray(xray.pixels, dtype=np.float32) - np.float32(no_radiation(xray))
    attenuation = xray.scale == "attenuation"
    by_the_file = np.zeros(pixels.shape, dtype=bool) if xray.mask is None else ~xray.mask
    covered = collimated(pixels, attenuation, _aspect(xray))
    return LeftOut(covered, _saturated(xray), marked(pixels, attenuation), by_the_file)


def _aspect(xray: Xray | PartialXray) -> float:
    """A row's spacing over a column's; 1 where it is not known, or no detector's."""
    intrinsics = getattr(xray, "intrinsics", None)
    spacing = getattr(xray if intrinsics is None else intrinsics, "spacing", None)
    aspect = 1.0 if spacing is None else spacing[1] / spacing[0]
    return aspect if 0.25 <= aspect <= 4.0 else 1.0


def usable(xray: Xray | PartialXray, mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
    """(H, W) pixels that count, of those in `mask` (H, W) if given; None where all do.

    What is left out is said by `left_out`. Raises InputError for an X-ray without content, for a mask of another size,
    and for one that leaves nothing, by itself or together with what was found.
    """
    pixels = np.asarray(xray.pixels)
    open_ = good = ~left_out(xray).any
    if mask is not None:
        if mask.shape != pixels.shape:
            raise InputError(
                f"The mask of {xray.name} has {mask.shape[1]} x {mask.shape[0]} pixels, the X-ray {pixels.shape[1]} x "
                f"{pixels.shape[0]}."
            )
        good = open_ & mask.astype(bool)
    if good.mean() < _LEAST_LEFT:
        if mask is not None:
            raise InputError(_nothing_left(xray.name, mask.astype(bool), open_))
        return None  # an image that looks like nothing but blades is compared as it is
    return None if good.all() else good


def check_shows(xray: Xray | PartialXray) -> None:
    """Raise InputError for an image without content."""
    pixels = np.asarray(xray.pixels)
    if not np.isfinite(pixels).all() or pixels.min() == pixels.max():
        raise InputError(f"The X-ray {xray.name} shows nothing: its pixels are all the same, or not numbers.")


def _nothing_left(name: str, mask: NDArray[np.bool_], open_: NDArray[np.bool_]) -> str:
    """Why a mask and what was found leave nothing: it is too small, or what it holds looks like no picture."""
    if mask.mean() < _LEAST_LEFT:
        return f"The mask of {name} leaves less than {_LEAST_LEFT:.0%} of its pixels: draw it larger."
    if open_.mean() < _LEAST_LEFT:
        advice = "register it without a mask if it is a picture nonetheless."
    else:
        advice = "draw the mask where the picture is neither."
    return f"Nearly everything within the mask of {name} looks collimated or saturated: {advice}"


def _saturated(xray: Xray | PartialXray) -> NDArray[np.bool_]:
    """Pixels at the highest value, where many hold it but not nearly all; none of an image of line integrals."""
    pixels = np.asarray(xray.pixels)
    full = pixels == pixels.max()
    if xray.scale == "attenuation" or full.mean() < _LEAST_SHARE or full.mean() > _MOST_SATURATED:
        return np.zeros(pixels.shape, dtype=bool)
    return np.asarray(full)
