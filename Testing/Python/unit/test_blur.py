"""The blur against scipy's, which shares no code with it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from XVRegistrationLib.imaging.blur import blur_each, gaussian_blur, wide_blur


def test_it_is_scipys_gaussian_with_the_border_repeated():
    images = np.random.default_rng(0).normal(size=(2, 3, 30, 41))
    for sigma in ((4.0, 4.0), (1.3, 5.5)):
        ours = gaussian_blur(torch.from_numpy(images), sigma).numpy()
        reach = tuple(int(2.5 * s) + 1 for s in sigma)
        expected = gaussian_filter(images, sigma, axes=(2, 3), mode="nearest", radius=reach)
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_an_even_image_stays_as_it_is():
    torch.testing.assert_close(gaussian_blur(torch.full((1, 1, 8, 9), 3.0), (2.0, 7.0)), torch.full((1, 1, 8, 9), 3.0))


def test_a_wide_blur_on_blocks_is_the_blur_itself():
    images = gaussian_filter(np.random.default_rng(1).normal(size=(2, 120, 150)), (0, 4, 4))
    images[:, :40] = images[:, -40:] = images[:, :, :40] = images[:, :, -40:] = 0
    exact = gaussian_blur(torch.from_numpy(images)[:, None], (13.0, 10.0))[:, 0]
    for block, bound in ((0.3, 0.05), (0.1, 0.02)):
        found = wide_blur(torch.from_numpy(images), (13.0, 10.0), block)
        assert float((found - exact).abs().max()) < bound * float(exact.abs().max())


def test_each_image_has_its_own_width():
    images = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 40, 50)))
    widths = [0.0, 0.4, 1.5, 6.0]
    each = torch.tensor(widths, dtype=torch.float64)
    narrow = blur_each(images, each)
    wide = blur_each(images, (each + 20, each + 15))
    torch.testing.assert_close(narrow[0], images[0])
    for n, width in enumerate(widths):
        if width > 0:
            torch.testing.assert_close(narrow[n], gaussian_blur(images[n][None, None], (width, width))[0, 0])
        expected = gaussian_blur(images[n][None, None], (width + 20, width + 15))[0, 0]
        torch.testing.assert_close(wide[n], expected)
    torch.testing.assert_close(blur_each(images[:, :, :40], each), blur_each(images[:, :, :40], (each, each.clone())))
