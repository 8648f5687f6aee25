"""Renderers against bodies with closed forms: how their error falls with the step and with the voxels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from Testing.Python.unit.closed_forms import Box, Ellipsoid, line_integrals, voxels
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.rendering.grid import grid_from_density
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.rendering.siddon import trilinear_integral

TURNED = rotation_from_euler_zxy([25.0, -10.0, 40.0])
BODIES = [
    Ellipsoid(np.array([4.0, -6.0, 3.0]), np.array([42.0, 30.0, 36.0]), 0.02, TURNED),
    Ellipsoid(np.array([-12.0, 4.0, -8.0]), np.array([9.0, 15.0, 12.0]), 0.03),
    Box(np.array([14.0, -8.0, 10.0]), np.array([8.0, 11.0, 9.0]), 0.025, TURNED.T),
]
CAMERA = Intrinsics(1000.0, (4.0, 4.4), (19.0, 17.5), (40, 36))
POSES = draw_poses(
    NominalView("AP", (0.0, 0.0, 0.0), 700.0),
    PoseRange((20.0, 20.0, 20.0), (5.0, 5.0, 5.0)),
    2,
    np.random.default_rng(2),
)


@cache
def scanned(spacing):
    """The bodies as a scanner with voxels of this size, mm, has them."""
    n = int(100 / spacing)
    matrix = np.diag([-spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = np.array([0.5, -0.5, -0.5]) * (n - 1) * spacing
    return grid_from_density(voxels(BODIES, (n, n, n), matrix, 2), matrix)


def test_chords_are_what_counting_points_on_rays_gives():
    rng = np.random.default_rng(0)
    source = np.array([20.0, -300.0, 40.0])
    t = (np.arange(60_000) + 0.5) * 0.01
    for body in BODIES:
        directions = body.center - source + rng.normal(0, 10, (40, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        chords = body.chords(source, directions)
        assert (chords > 0).mean() > 0.1
        for d, chord in zip(directions, chords, strict=True):
            assert 0.01 * body.inside(source + t[:, None] * d).sum() == pytest.approx(chord, abs=0.03)
        # From inside only what lies ahead counts, and from behind nothing.
        ahead, behind = body.chords(body.center, directions), body.chords(body.center, -directions)
        np.testing.assert_allclose(ahead, behind)
        assert not body.chords(source, -directions).any()


def test_the_error_of_the_march_falls_with_the_square_of_its_step():
    grid = scanned(4.0)
    exact = trilinear_integral(grid, rays_of(grid, POSES, CAMERA))
    errors = [
        float((render(grid, POSES, CAMERA, step).double() - exact).square().mean().sqrt()) for step in (1.0, 0.5, 0.25)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.7).all(), (errors, orders)


@pytest.mark.parametrize("method", ["march", "joseph", "siddon"])
def test_the_error_of_a_render_falls_with_the_voxels(method):
    truth = torch.from_numpy(line_integrals(BODIES, POSES, CAMERA))
    errors = [
        float((render(scanned(s), POSES, CAMERA, method=method).double() - truth).abs().mean() / truth.mean())
        for s in (4.0, 2.0, 1.0)
    ]
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2], errors
    assert errors[2] < (0.015 if method == "siddon" else 0.01), errors


@pytest.mark.parametrize("method", ["march", "joseph", "siddon"])
def test_renders_are_of_the_bodies_where_they_are(method):
    """Without a bias by half a voxel or half a pixel: the mean error is far below the mean of its size."""
    truth = line_integrals(BODIES, POSES, CAMERA)
    image = render(scanned(2.0), POSES, CAMERA, method=method).double().numpy()
    i, j = np.meshgrid(np.arange(40), np.arange(36))
    for places in (i, j):
        centroids = [(x * places).sum(axis=(1, 2)) / x.sum(axis=(1, 2)) for x in (image, truth)]
        np.testing.assert_allclose(*centroids, atol=0.05)  # half a voxel is 0.35
    assert image.sum() == pytest.approx(truth.sum(), rel=2e-3)
