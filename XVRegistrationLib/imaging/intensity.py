"""From grey values to the line integrals that a renderer predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Xray


def line_integral(xray: Xray) -> NDArray[np.float32]:
    """(H, W) p = -ln(I / I0), unitless, up to an unknown scale; I0 is the brightest of the image (its 99.9th percentile).

    Raises InputError for an image without content. Everything downstream is invariant to the scale and offset of p, so that an I0 that no pixel shows does no harm.
    """
    pixels = np.asarray(xray.pixels, dtype=np.float32)
    if not np.isfinite(pixels).all() or pixels.min() == pixels.max():
        raise InputError(f"The X-ray {xray.name} shows nothing: its pixels are all the same, or not numbers.")
    if xray.scale == "attenuation":
        return pixels - np.float32(np.percentile(pixels, 0.1))
    low, unattenuated = np.percentile(pixels, [0.1, 99.9])
    # Dead and saturated-dark pixels would give infinities; anything under a thousandth of I0 says "opaque", no more.
    floor = max(float(low), 1e-3 * float(unattenuated), 1e-12)
    return np.maximum(-np.log(np.maximum(pixels, floor) / max(float(unattenuated), 1e-12)), 0.0)
