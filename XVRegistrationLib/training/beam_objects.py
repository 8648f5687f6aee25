"""What lies in the beam beside the patient, as line integrals to be added: wires, implants, contrast in vessels, table, collimator.

Shapes are soft (a smoothed edge of about a pixel), so that thin things keep their shadow in coarse images. Each image draws
its own; only the images that get a kind are worked on. Places and sizes are in mm at the isocentre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

# Linear attenuation, 1/mm, at the 60 to 70 keV of a filtered beam: mu/rho of Resources/physics times density.
_STEEL = 0.75
_TITANIUM = 0.28
# A vessel with 100 to 350 mg iodine per ml (7.6 cm2/g at 60 keV), 1/mm.
_IODINE = (0.08, 0.27)


@dataclass(frozen=True)
class ObjectShares:
    """Which share of the images shows each kind of object, at full difficulty."""

    wires: float = 0.15
    """One to three guide wires, needles or leads of steel, 0.3 to 2 mm thick, straight or bent."""
    implants: float = 0.1
    """One to three screws, plates or caps of titanium or steel, 4 to 16 mm wide."""
    vessels: float = 0.05
    """Three to six vessels filled with contrast that leave one place, 2 to 6 mm thick."""
    table: float = 0.1
    """The edge of a table with its metal rail."""
    collimator: float = 0.05
    """Blades about a round or rectangular, turned and off-centre opening, as they are where nobody finds them."""


NO_OBJECTS = ObjectShares(0.0, 0.0, 0.0, 0.0, 0.0)


def beam_objects(
    count: int,
    size: tuple[int, int],
    spacing: tuple[float, float],
    shares: ObjectShares,
    generator: torch.Generator,
) -> torch.Tensor:
    """Line integrals (count, H, W), unitless, of random objects; `size` (W, H) px, `spacing` (dx, dy) mm of a pixel at the isocentre.

    On the generator's device; the same for the same state of the generator.
    """
    draw = _Draw(generator, size, spacing)
    integrals = torch.zeros(count, size[1], size[0], device=generator.device)
    kinds = (
        (shares.wires, _wires),
        (shares.implants, _implants),
        (shares.vessels, _vessels),
        (shares.table, _table),
        (shares.collimator, _collimator),
    )
    for share, kind in kinds:
        chosen = draw.some(count, share)
        if len(chosen):
            integrals.index_add_(0, chosen, kind(draw, len(chosen)))
    return integrals


_ROUND = 2  # images a lot, before some are drawn anew


class ObjectPool:
    """Objects drawn beforehand, of which each image gets one lot; with every round some are drawn anew, and others turned over.

    To draw them takes longer than to render the patient; what is drawn serves many images, each in another place. A round is twice
    as many images as there are lots.
    """

    def __init__(
        self,
        size: tuple[int, int],
        spacing: tuple[float, float],
        shares: ObjectShares,
        generator: torch.Generator,
        lots: int = 128,
        renewed: int = 8,
    ) -> None:
        """As `beam_objects`; `lots` are kept, and `renewed` of them drawn anew in each round."""
        self._size, self._spacing, self._shares, self._generator = size, spacing, shares, generator
        self._renewed, self._since = renewed, 0
        self._lots = beam_objects(lots, size, spacing, shares, generator)

    def objects(self, count: int, difficulty: float = 1.0) -> torch.Tensor:
        """Line integrals (count, H, W); only a share `difficulty` (0..1) of the images gets any of what the shares say."""
        g, device = self._generator, self._generator.device
        if difficulty <= 0:
            return torch.zeros(count, self._size[1], self._size[0], device=device)
        chosen = self._lots[torch.randint(len(self._lots), (count,), generator=g, device=device)]
        if difficulty < 1:
            chosen *= torch.rand(count, 1, 1, generator=g, device=device) < difficulty
        self._since += count
        if self._since >= _ROUND * len(self._lots):
            self._since = 0
            self._renew()
        return chosen

    def _renew(self) -> None:
        """Turn half of the lots from left to right and half upside down, and draw some anew."""
        g, device = self._generator, self._generator.device
        turned, upside = (torch.rand(2, len(self._lots), generator=g, device=device) < 0.5).unbind()
        for chosen, axis in ((turned, 2), (upside, 1)):
            self._lots[chosen] = self._lots[chosen].flip(axis)
        new = torch.randint(len(self._lots), (self._renewed,), generator=g, device=device)
        self._lots[new] = beam_objects(self._renewed, self._size, self._spacing, self._shares, g)


class _Draw:
    """Random numbers, and the image's pixels in mm from its centre."""

    def __init__(self, generator: torch.Generator, size: tuple[int, int], spacing: tuple[float, float]) -> None:
        self._generator, self.device = generator, generator.device
        self.pixel = max(spacing)
        self.half = (size[0] * spacing[0] / 2, size[1] * spacing[1] / 2)
        """Half the field's width and height, mm."""
        self.extent = min(self.half)
        x = (torch.arange(size[0], device=self.device) - (size[0] - 1) / 2) * spacing[0]
        y = (torch.arange(size[1], device=self.device) - (size[1] - 1) / 2) * spacing[1]
        self._x, self._y = x[None, None, None, :], y[None, None, :, None]

    def some(self, count: int, share: float) -> torch.Tensor:
        """Which of `count` images are chosen, each with the probability `share`."""
        if share <= 0:
            return torch.empty(0, dtype=torch.long, device=self.device)
        return (torch.rand(count, generator=self._generator, device=self.device) < share).nonzero()[:, 0]

    def uniform(self, low: float, high: float, images: int, each: int = 1) -> torch.Tensor:
        """(images, each, 1, 1) between two bounds."""
        share = torch.rand(images, each, 1, 1, generator=self._generator, device=self.device)
        return low + (high - low) * share

    def present(self, images: int, most: int, least: int = 1) -> torch.Tensor:
        """(images, most, 1, 1): 1 for the first `least` to `most` objects of an image, 0 for the others."""
        number = self.uniform(least, most + 1, images).floor()
        return (torch.arange(most, device=self.device)[None, :, None, None] < number).float()

    def place(self, images: int, each: int = 1, reach: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
        """Two (images, each, 1, 1) coordinates in the middle `reach` of the field, mm."""
        w, h = (reach * n for n in self.half)
        return self.uniform(-w, w, images, each), self.uniform(-h, h, images, each)

    def along(self, place: tuple[torch.Tensor, torch.Tensor], angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates (images, each, H, W), mm, along and across an object at a place, turned by an angle in radians."""
        x, y, c, s = self._x - place[0], self._y - place[1], angle.cos(), angle.sin()
        return c * x + s * y, c * y - s * x

    def curve(
        self,
        place: tuple[torch.Tensor, torch.Tensor],
        angle: torch.Tensor,
        bend: torch.Tensor,
        reach: tuple[torch.Tensor, torch.Tensor],
        radius: torch.Tensor,
    ) -> torch.Tensor:
        """Chord (images, each, H, W), mm, through a rod of `radius` along a parabola of curvature `bend`, 1/mm.

        From `reach[0]` to `reach[1]` mm along. The profile is a Gaussian of a cylinder's area and variance, widened by a pixel's.
        """
        u, v = self.along(place, angle)
        slope = bend * u
        across = (v - slope * u / 2) / (1 + slope.square()).sqrt()
        variance = radius.square() / 4 + self.pixel**2 / 12
        peak = math.pi * radius.square() / (2 * math.pi * variance).sqrt()
        within = torch.sigmoid((u - reach[0]) / self.pixel * 3) * torch.sigmoid((reach[1] - u) / self.pixel * 3)
        return peak * torch.exp(-across.square() / (2 * variance)) * within

    def inside(self, distance: torch.Tensor) -> torch.Tensor:
        """0..1 of signed distances to an edge, mm, positive inside: soft over a pixel."""
        return torch.sigmoid(distance / self.pixel * 3)


def _wires(draw: _Draw, images: int) -> torch.Tensor:
    each = 3
    place, angle = draw.place(images, each), draw.uniform(0, 2 * math.pi, images, each)
    bend = draw.uniform(-1.0, 1.0, images, each) ** 3 / (0.5 * draw.extent)
    reach = draw.uniform(-2.0, -0.2, images, each) * draw.extent, draw.uniform(0.1, 2.0, images, each) * draw.extent
    radius = 0.15 + 0.85 * draw.uniform(0, 1, images, each).square()
    return (_STEEL * draw.present(images, each) * draw.curve(place, angle, bend, reach, radius)).sum(dim=1)


def _implants(draw: _Draw, images: int) -> torch.Tensor:
    each = 3
    u, v = draw.along(draw.place(images, each, 0.7), draw.uniform(0, math.pi, images, each))
    width = draw.uniform(2.0, 8.0, images, each)
    length = width * draw.uniform(1.0, 6.0, images, each)
    # From round (the Euclidean norm) to a plate (the largest of both).
    norm = draw.uniform(2.0, 6.0, images, each)
    distance = (1 - ((u / length).abs() ** norm + (v / width).abs() ** norm) ** (1 / norm)) * width
    thick = draw.uniform(1.0, 8.0, images, each)
    material = torch.where(draw.uniform(0, 1, images, each) < 0.7, _TITANIUM, _STEEL)
    return (draw.present(images, each) * material * thick * draw.inside(distance)).sum(dim=1)


def _vessels(draw: _Draw, images: int) -> torch.Tensor:
    each = 6
    x, y = draw.place(images, 1, 0.6)
    root = x.expand(-1, each, -1, -1), y.expand(-1, each, -1, -1)
    angle = draw.uniform(0, 2 * math.pi, images) + draw.uniform(-1.2, 1.2, images, each)
    bend = draw.uniform(-1.0, 1.0, images, each) / (0.4 * draw.extent)
    reach = torch.zeros_like(angle), draw.uniform(0.3, 1.2, images, each) * draw.extent
    chord = draw.curve(root, angle, bend, reach, draw.uniform(1.0, 3.0, images, each))
    return (draw.uniform(*_IODINE, images) * draw.present(images, each, 3) * chord).sum(dim=1)


def _table(draw: _Draw, images: int) -> torch.Tensor:
    """A plate of carbon fibre that ends in the field along a line, with a rail of aluminium or steel at its edge."""
    _, v = draw.along(draw.place(images, 1, 0.9), draw.uniform(0, 2 * math.pi, images))
    plate = draw.uniform(0.05, 0.3, images) * draw.inside(v)
    width = draw.uniform(2.0, 8.0, images)
    rail = draw.uniform(0.0, 3.0, images) * draw.inside(width - v.abs())
    return (plate + rail)[:, 0]


def _collimator(draw: _Draw, images: int) -> torch.Tensor:
    """Blades, or a round iris, about an opening whose middle may lie a quarter of the field off."""
    x, y = draw.place(images, 1, 0.25)
    u, v = draw.along((x, y), draw.uniform(-0.5, 0.5, images))
    wide, high = (draw.uniform(0.55, 1.15, images) * draw.extent for _ in range(2))
    blades = torch.minimum(wide - u.abs(), high - v.abs())
    iris = wide - (u.square() + v.square()).sqrt()
    opening = torch.where(draw.uniform(0, 1, images) < 0.5, blades, iris)
    return (draw.uniform(1.0, 6.0, images) * (1 - draw.inside(opening)))[:, 0]
