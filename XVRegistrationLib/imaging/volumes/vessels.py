"""Angiograms to the attenuation of the contrast agent alone, as subtracted X-rays show it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

IODINE = 0.09
"""Attenuation above blood's, 1/mm, at 60 keV: 120 mg of iodine per ml (7.6 cm2/g), a selective injection mixed with blood."""
_SAMPLES = 2_000_000
_BRIGHT = (80.0, 95.0)
"""Percentiles: vessels are among the voxels above, with the brightest of what is none."""
_BRIGHTEST = 99.99
"""Percentile; what is above, such as a clip, counts as this."""
_APART = 0.8
"""Share of the variance that lies between the two parts where there are two; where a single hump is halved, 2 / pi."""
_MOST_STEPS = 50


def checked_vessels(values: NDArray[Any], window: tuple[float, float], name: str) -> tuple[NDArray[np.float32], str]:
    """`vessel_attenuation` of the values (K, J, I) of `name`, and how much of them is vessel, a sentence.

    Raises InputError where the window leaves nothing.
    """
    attenuation = vessel_attenuation(values, window)
    share = np.count_nonzero(attenuation) / attenuation.size
    if not share:
        raise InputError(f"{name} has no value above {window[0]:g}; choose another window for its vessels.")
    return attenuation, f"{share:.1%} of its voxels are vessel, wholly or in part."


def vessel_attenuation(values: NDArray[Any], window: tuple[float, float]) -> NDArray[np.float32]:
    """Attenuation of contrast agent, 1/mm: none up to the window's lower end, that of a full vessel from its upper one.

    In between it rises linearly, as the share of a voxel at a vessel's wall that is vessel does. What is no number is none.
    """
    low, high = window
    share = np.asarray(values, dtype=np.float32) - np.float32(low)
    share /= np.float32(high - low)
    np.clip(share, 0.0, 1.0, out=share)
    share *= np.float32(IODINE)
    share[~np.isfinite(share)] = 0.0
    return share


def usual_window(values: NDArray[Any]) -> tuple[float, float]:
    """A window to begin with for the vessels of an angiogram, (K, J, I) or (n,): about half between them and what is around them.

    The brightest fifth of the voxels is divided in two, or, where it is not two, as in an MRA, where tissue shows, the
    brightest twentieth. The window reaches half as far as the means of both, and is rounded to a hundredth of its width. Of
    bones, which are as bright, it knows nothing. Raises InputError for a volume of one value.
    """
    stride = max(1, round((values.size / _SAMPLES) ** (1 / values.ndim)))
    sample = np.asarray(values[(slice(None, None, stride),) * values.ndim], dtype=np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if not sample.size or sample.min() == sample.max():
        raise InputError("All voxels have the same value, so that there are no vessels; choose another volume.")
    top = np.percentile(sample, _BRIGHTEST)
    below, above = float(sample.min()), float(sample.max())
    for percentile in _BRIGHT:
        bright = np.minimum(sample[sample >= np.percentile(sample, percentile)], top)
        if bright.min() < bright.max():
            below, above, apart = _two_parts(bright)
            if apart >= _APART:
                break
    wall = (below + above) / 2
    low, high = (below + wall) / 2, (above + wall) / 2
    step = 10.0 ** (math.floor(math.log10(high - low)) - 2)
    return round(round(low / step) * step, 6), round(round(high / step) * step, 6)


def _two_parts(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Means of the lower and the upper part, and the share (0 to 1) of the variance that is between them.

    The limit is equally far from both means (Ridler and Calvard 1978, IEEE Trans. SMC 8:630).
    """
    limit = float(values.min() + values.max()) / 2
    for _ in range(_MOST_STEPS):
        upper = values > limit
        below, above = float(values[~upper].mean()), float(values[upper].mean())
        if math.isclose(limit, (below + above) / 2, rel_tol=1e-6):
            break
        limit = (below + above) / 2
    share = float(upper.mean())
    return below, above, share * (1 - share) * (above - below) ** 2 / float(values.var())
