"""How alike an X-ray and a rendered image are: NCC, SSIM and its part without luminance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Wang et al. 2004: a Gaussian window of 1.5 px, cut to 11 x 11, and the two constants.
_SIGMA, _RADIUS, _K1, _K2 = 1.5, 5, 0.01, 0.03


@dataclass(frozen=True)
class ImageSimilarity:
    """Similarities of two images; 1 is perfect."""

    ncc: float
    ssim: float
    css: float


def image_similarity(xray: ArrayLike, render: ArrayLike) -> ImageSimilarity:
    """Similarity of a render (H, W) to an X-ray (H, W), both line integrals in any unit.

    The render is first brought to the X-ray's scale and offset by least squares: NCC does not see them, and SSIM would
    measure little else. The range of the values is the X-ray's.
    """
    x, y = (np.asarray(image, dtype=np.float64) for image in (xray, render))
    slope = np.cov(x.ravel(), y.ravel(), bias=True)[0, 1] / max(float(y.var()), 1e-12)
    fitted = x.mean() + slope * (y - y.mean())
    span = float(x.max() - x.min())
    return ImageSimilarity(ncc(x, y), ssim(x, fitted, span), css(x, fitted, span))


def ncc(a: ArrayLike, b: ArrayLike) -> float:
    """Zero-mean normalised cross-correlation of two images (H, W); 0 where one of them is flat."""
    x, y = (np.asarray(image, dtype=np.float64) for image in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def ssim(a: ArrayLike, b: ArrayLike, data_range: float) -> float:
    """Mean structural similarity of two images (H, W) whose values span `data_range` (Wang et al. 2004).

    Gaussian window, sample moments of the window, borders without a whole window left out.
    """
    luminance, contrast_structure = _ssim_maps(a, b, data_range)
    return float((luminance * contrast_structure).mean())


def css(a: ArrayLike, b: ArrayLike, data_range: float) -> float:
    """SSIM without its luminance factor: contrast times structure.

    That this is what publications call CSS is an inference: none of those read defines it, and in all of their cases SSIM is
    slightly below CSS, as it is here.
    """
    return float(_ssim_maps(a, b, data_range)[1].mean())


def _ssim_maps(a: ArrayLike, b: ArrayLike, data_range: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luminance, and contrast times structure, of each pixel with a whole window."""
    from scipy.ndimage import gaussian_filter

    x, y = (np.asarray(image, dtype=np.float64) for image in (a, b))
    if x.shape != y.shape or x.ndim != 2 or min(x.shape) <= 2 * _RADIUS:
        raise ValueError(f"Two images of the same size above 10 x 10 px are needed, not {x.shape} and {y.shape}.")
    if not data_range > 0:
        raise ValueError("The images' values must span a range.")

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth = gaussian_filter(image, _SIGMA, radius=_RADIUS)
        return np.asarray(smooth[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS], dtype=np.float64)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * vxy + c2) / (vx + vy + c2)
