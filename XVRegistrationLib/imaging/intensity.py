"""From grey values to the line integrals that a renderer predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from XVRegistrationLib.imaging.usable import check_shows, no_radiation, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Xray

_OPAQUE = 1e-3  # of I0: less says "opaque", no more
_BIN = 0.02  # in ln I
_NEAR_THE_TOP = 0.35  # in ln I: unattenuated areas differ by so much at most, by the heel effect and the inverse square
_LEAST_AREA = 0.03  # of what counts
_MOST_VALUES = 300_000


@dataclass(frozen=True)
class Unattenuated:
    """What a detector shows of the beam where nothing is in its way."""

    value: float
    """I0, in grey values."""
    brightest: float
    """The 99.9th percentile of what counts, in grey values."""
    source: Literal["area", "brightest"]
    """"area": an unattenuated area is there, and this is its most frequent value; "brightest": none is, and this is the
    99.9th percentile of what counts."""
    share: float
    """Of what counts, unattenuated: 0..1."""
    dark: float = 0.0
    """No radiation, in grey values: not 0 where some are negative."""


def unattenuated(xray: Xray | PartialXray) -> Unattenuated:
    """I0 of an X-ray of intensities, of pixels that count: not saturated, no text, no marker, nothing collimated.

    No attribute of DICOM states it: exposure and dose indices are about the patient's exposure and not about grey values
    (PS3.3, C.8.7.2, C.8.7.8), and a relationship LIN leaves the factor open (C.8.11.3.1.2). So it is the mode of the
    histogram's bright end, in ln I, if that holds 3 % of the pixels, else the 99.9th percentile.
    """
    dark = no_radiation(xray)
    values = _counted(xray) - np.float32(dark)
    top = max(float(np.percentile(values, 99.9)), 1e-12)
    bright = np.log(values[(values >= top * np.exp(-_NEAR_THE_TOP)) & (values <= top)] / top)
    counts, edges = np.histogram(bright, bins=round(_NEAR_THE_TOP / _BIN), range=(-_NEAR_THE_TOP, 0.0))
    three = np.convolve(counts, np.ones(3), mode="same")
    best = int(np.argmax(three))
    share = float(three[best]) / values.size
    # Brightness that only rises or falls off towards the end of the range is anatomy, an area of air is a peak.
    if share < _LEAST_AREA or best < 2 or counts[0] > 0.5 * counts[best]:
        return Unattenuated(top + dark, top + dark, "brightest", 0.0, dark)
    most = top * float(np.exp((edges[best] + edges[best + 1]) / 2))
    return Unattenuated(most + dark, top + dark, "area", share, dark)


def line_integral(xray: Xray | PartialXray) -> NDArray[np.float32]:
    """(H, W) p = -ln(I / I0), unitless, up to an unknown scale; I0 as `unattenuated` says it.

    Air brighter than I0 by noise or the beam's profile is a little below 0. Raises InputError for an image without
    content. Everything downstream is invariant to the scale and offset of p, so that an I0 that no pixel shows does no
    harm; saturated pixels and markers do not move it.
    """
    check_shows(xray)
    pixels = np.asarray(xray.pixels, dtype=np.float32)
    if xray.scale == "attenuation":
        return pixels - np.float32(np.percentile(_counted(xray), 0.1))
    beam = unattenuated(xray)
    pixels, i0 = pixels - np.float32(beam.dark), beam.value - beam.dark
    # Dead and saturated-dark pixels would give infinities.
    floor = max(float(np.percentile(pixels, 0.1)), _OPAQUE * i0, 1e-12)
    least = np.float32(-np.log((beam.brightest - beam.dark) / i0))
    return np.maximum(-np.log(np.maximum(pixels, floor) / np.float32(i0)), least)


def _counted(xray: Xray | PartialXray) -> NDArray[np.float32]:
    """Values (n,) of pixels that count; of a large image, of every so many."""
    pixels = np.asarray(xray.pixels)
    good = usable(xray)
    values = np.asarray(pixels.ravel() if good is None else pixels[good], dtype=np.float32)
    return values[:: max(1, values.size // _MOST_VALUES)]
