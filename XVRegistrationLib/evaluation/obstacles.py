"""What makes simulated X-rays hard: instruments and implants of metal in and about the patient, and a collimator off centre.

Instruments are rods and plates in space, and what a ray loses in them is exact (their chord lengths), so that they are seen in
perspective and in a size of their own. Training draws its objects differently, as shadows on the image (`training.beam_objects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.geometry.rigid import rotation_from_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

IRON, TITANIUM = 0.66, 0.247
"""Linear attenuation at 70 keV, 1/mm (XCOM's mass attenuation of Fe and Ti; 7.874 and 4.506 g/cm3)."""
_REACH = 110.0  # mm from the isocentre along each axis: within a body
_WIRE_SEGMENTS = 24
_LEAK = (5.3, 7.6)  # line integral of the blades: 0.5 to 0.05 %
_SUBPIXELS = 2  # a side


@dataclass(frozen=True)
class Obstacles:
    """What X-rays show beside the patient."""

    instruments: tuple[int, int] = (0, 0)
    """Fewest and most of an X-ray: wires, needles, screws, plates and retractors, each as likely."""
    opening: tuple[float, float] | None = None
    """Bounds of the collimator's opening as a share of the field's shorter side, round or rectangular and turned by up to 30
    degrees; None for none."""
    off_centre: float = 0.0
    """How far the opening's middle may lie from the field's, as a share of the shorter side."""


@dataclass(frozen=True, eq=False)
class Rods:
    """Straight cylinders with flat ends."""

    starts: NDArray[np.float64]
    """(N, 3), RAS mm."""
    ends: NDArray[np.float64]
    """(N, 3), RAS mm."""
    radius: float
    """mm."""
    attenuation: float
    """1/mm."""


@dataclass(frozen=True, eq=False)
class Plate:
    """A box."""

    place: NDArray[np.float64]
    """(3,) of its middle, RAS mm."""
    axes: NDArray[np.float64]
    """(3, 3) its sides' directions as columns."""
    size: NDArray[np.float64]
    """(3,) mm."""
    attenuation: float
    """1/mm."""


def draw_instruments(obstacles: Obstacles, isocentre: ArrayLike, rng: np.random.Generator) -> list[Rods | Plate]:
    """Instruments about the isocentre (3,), RAS mm, as many as `obstacles` says."""
    low, high = obstacles.instruments
    kinds = (_wire, _needle, _screw, _implant, _retractor)
    centre = np.asarray(isocentre, dtype=np.float64)
    count = int(rng.integers(low, high + 1))
    return [kinds[int(rng.integers(len(kinds)))](centre + rng.uniform(-_REACH, _REACH, 3), rng) for _ in range(count)]


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    v = rng.normal(size=3)
    return np.asarray(v / np.linalg.norm(v))


def _rod(place: NDArray[np.float64], length: float, radius: float, mu: float, rng: np.random.Generator) -> Rods:
    half = _direction(rng) * length / 2
    return Rods((place - half)[None], (place + half)[None], radius, mu)


def _needle(place: NDArray[np.float64], rng: np.random.Generator) -> Rods:
    """A needle, or a wire of Kirschner."""
    return _rod(place, float(rng.uniform(80, 200)), float(rng.uniform(0.5, 1.5)), IRON, rng)


def _screw(place: NDArray[np.float64], rng: np.random.Generator) -> Rods:
    return _rod(place, float(rng.uniform(30, 70)), float(rng.uniform(2.0, 3.5)), TITANIUM, rng)


def _wire(place: NDArray[np.float64], rng: np.random.Generator) -> Rods:
    """A guide wire that winds."""
    step = float(rng.uniform(150, 350)) / _WIRE_SEGMENTS
    heading, turn, points = _direction(rng), np.zeros(3), [place]
    for _ in range(_WIRE_SEGMENTS):
        turn = 0.8 * turn + rng.normal(0, 0.06, 3)
        heading = rotation_from_vector(turn) @ heading
        points.append(points[-1] + step * heading)
    line = np.array(points)
    return Rods(line[:-1], line[1:], float(rng.uniform(0.25, 0.5)), IRON)


def _plate(place: NDArray[np.float64], size: Sequence[float], mu: float, rng: np.random.Generator) -> Plate:
    axes = np.asarray(rotation_from_vector(_direction(rng) * rng.uniform(0, np.pi)))
    return Plate(place, axes, np.asarray(size, dtype=np.float64), mu)


def _implant(place: NDArray[np.float64], rng: np.random.Generator) -> Plate:
    """A plate, or a cage."""
    size = rng.uniform([2.0, 10.0, 15.0], [8.0, 20.0, 90.0])
    return _plate(place, size, TITANIUM, rng)


def _retractor(place: NDArray[np.float64], rng: np.random.Generator) -> Plate:
    return _plate(place, rng.uniform([1.0, 15.0, 60.0], [2.0, 30.0, 120.0]), IRON, rng)


def instruments_integral(
    instruments: Sequence[Rods | Plate], pose: ArrayLike, intrinsics: Intrinsics
) -> NDArray[np.float64]:
    """(H, W) -ln of what instruments let through to each pixel, as stored; a pixel is the mean of four rays."""
    width, height = intrinsics.size
    fine = intrinsics.resized((width * _SUBPIXELS, height * _SUBPIXELS))
    origin, directions = rays(pose, fine)
    lost = np.zeros(len(directions))
    for thing in instruments:
        if isinstance(thing, Rods):
            for start, end in zip(thing.starts, thing.ends, strict=True):
                lost += thing.attenuation * rod_chord(origin, directions, start, end, thing.radius)
        else:
            lost += thing.attenuation * box_chord(origin, directions, thing.place, thing.axes, thing.size)
    through = np.exp(-lost).reshape(height, _SUBPIXELS, width, _SUBPIXELS).mean(axis=(1, 3))
    return np.asarray(-np.log(through))


def rays(pose: ArrayLike, intrinsics: Intrinsics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The source (3,), RAS mm, and unit directions (H W, 3) from it to the pixels."""
    t = np.asarray(pose, dtype=np.float64)
    columns, rows = np.meshgrid(np.arange(intrinsics.size[0]), np.arange(intrinsics.size[1]))
    directions = pixel_to_camera(np.stack([columns, rows], axis=-1).reshape(-1, 2), intrinsics) @ t[:3, :3].T
    return t[:3, 3], directions / np.linalg.norm(directions, axis=1, keepdims=True)


def rod_chord(
    origin: NDArray[np.float64],
    directions: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64]:
    """Length (N,), mm, of rays from `origin` (3,) along unit `directions` (N, 3) in a cylinder with flat ends."""
    length = np.linalg.norm(end - start)
    axis = (end - start) / length
    along, from_start = directions @ axis, origin - start
    # What is left of ray and start across the axis: |w + t d|^2 = r^2.
    d, w = directions - along[:, None] * axis, from_start - (from_start @ axis) * axis
    a, b = np.maximum((d * d).sum(axis=1), 1e-18), d @ w
    root = np.sqrt(np.maximum(b * b - a * (w @ w - radius * radius), 0.0))
    near, far = (-b - root) / a, (-b + root) / a
    enter, leave = _between(from_start @ axis, along, 0.0, float(length))
    return np.asarray(np.clip(np.minimum(far, leave) - np.maximum(near, enter), 0.0, None))


def box_chord(
    origin: NDArray[np.float64],
    directions: NDArray[np.float64],
    place: NDArray[np.float64],
    axes: NDArray[np.float64],
    size: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Length (N,), mm, of rays from `origin` (3,) along unit `directions` (N, 3) in a box with `axes` as columns (3, 3)."""
    o, d = (origin - place) @ axes, directions @ axes
    spans = [_between(o[i], d[:, i], -size[i] / 2, size[i] / 2) for i in range(3)]
    near, far = np.max([s[0] for s in spans], axis=0), np.min([s[1] for s in spans], axis=0)
    return np.asarray(np.clip(far - near, 0.0, None))


def _between(
    origin: float, directions: NDArray[np.float64], low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where rays enter and leave the slab from `low` to `high`, mm along them, by one coordinate of origin and directions."""
    safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    first, second = (low - origin) / safe, (high - origin) / safe
    return np.minimum(first, second), np.maximum(first, second)


def collimator_integral(obstacles: Obstacles, intrinsics: Intrinsics, rng: np.random.Generator) -> NDArray[np.float64]:
    """(H, W) line integrals of a collimator's blades about its opening; 0 within it."""
    width, height = intrinsics.size
    if obstacles.opening is None:
        return np.zeros((height, width))
    short, (dx, dy) = min(intrinsics.extent), intrinsics.spacing
    x = (np.arange(width) - (width - 1) / 2) * dx - short * rng.uniform(-1, 1) * obstacles.off_centre
    y = (np.arange(height) - (height - 1) / 2) * dy - short * rng.uniform(-1, 1) * obstacles.off_centre
    angle, leak = np.radians(rng.uniform(-30, 30)), rng.uniform(*_LEAK)
    half = rng.uniform(*obstacles.opening, 2) * short / 2
    u = np.cos(angle) * x[None, :] + np.sin(angle) * y[:, None]
    v = np.cos(angle) * y[:, None] - np.sin(angle) * x[None, :]
    inside = np.hypot(u, v) < half[0] if rng.random() < 0.5 else (np.abs(u) < half[0]) & (np.abs(v) < half[1])
    return np.where(inside, 0.0, leak)
