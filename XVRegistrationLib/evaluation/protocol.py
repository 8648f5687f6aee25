"""An evaluation's protocol: which volume, which X-rays, how they are registered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.simulation import ExposureRange
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.registration.bank import BANK_SIZE

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from XVRegistrationLib.evaluation.obstacles import Obstacles
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.spectrum import Tube

DEMO, VESSELS, GIVEN = "demo", "vessels", "given"
"""Sources of a volume that are no path: the demo's chest CT, the simulated vessel tree, what the caller brings."""
SOURCES = ("network", "bank")


@dataclass(frozen=True)
class VolumeSource:
    """Where the volume comes from."""

    source: str = DEMO
    """"demo", "vessels", "given", or the path of a file or folder."""
    reading: Reading = field(default_factory=Reading)
    """What the values of a file are."""
    labels: str = ""
    """Path of a label map for `Points.labels`; the demo has its own."""
    label_names: str = ""
    """Path of the table of its names."""
    kept: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Share (0..1) of its extent along i, j and k, about its middle, that registrations know; X-rays show the whole."""

    @property
    def subtracted(self) -> bool:
        """Whether the volume is contrast agent alone, of which X-rays are subtracted."""
        return self.source == VESSELS or self.reading.vessels is not None


@dataclass(frozen=True)
class Poses:
    """The poses that X-rays are taken at."""

    range: PoseRange
    min_body: float = 0.0
    """Least share (0..1) of the pixels whose ray crosses the body."""
    count: int = 200
    seed: int = 0


@dataclass(frozen=True)
class RegistrationSettings:
    """How the patient is made ready, and where the hypotheses come from."""

    range: PoseRange
    """What the bank and the network cover."""
    sources: tuple[str, ...] = ("bank",)
    """None at all where the protocol gives starts."""
    minutes: float = 0.0
    """Training of a network; 0 for none."""
    bank: int = BANK_SIZE
    """Renders of the bank, a power of two."""


@dataclass(frozen=True)
class StartError:
    """Starts given to the registration: how far from the truth, from half as much to so much, in a random direction."""

    mm: float
    degrees: float


@dataclass(frozen=True)
class Points:
    """The points of the mTRE: 100 farthest-point samples of these structures' voxels."""

    labels: tuple[str, ...] = ()
    """Patterns of label names; empty for the threshold."""
    threshold: float | None = None
    """Voxels above are taken, in the volume's unit; None for bone, or vessels that are half full."""


@dataclass(frozen=True)
class Protocol:
    """Everything that an evaluation depends on, but for the code and the data."""

    name: str
    title: str
    volume: VolumeSource
    view: str
    sod: float
    """Distance from the source to the volume's centre at the nominal pose, mm."""
    intrinsics: Intrinsics
    poses: Poses
    registration: RegistrationSettings
    exposure: ExposureRange = field(default_factory=ExposureRange)
    obstacles: Obstacles | None = None
    """What X-rays show beside the patient; None for nothing."""
    spectrum: Tube | None = None
    """The tube of the X-rays; None for one energy, that of nanodrr's own attenuation (70 keV)."""
    start: StartError | None = None
    points: Points = field(default_factory=Points)

    def nominal_view(self, center: ArrayLike) -> NominalView:
        """The nominal view of a volume with this centre (3,), RAS mm."""
        x, y, z = np.asarray(center, dtype=np.float64)
        return NominalView(self.view, (float(x), float(y), float(z)), self.sod)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, for records."""
        return dataclasses.asdict(self)


def fingerprint(*parts: Any) -> str:
    """A short hash of what can be written as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def with_volume(protocol: Protocol, path: str | os.PathLike[str], reading: Reading | None = None) -> Protocol:
    """The protocol with another volume, read as `reading` says; its bones, or vessels, are found by their values."""
    reading = reading or Reading()
    if reading.segmentation is not None:
        reading = dataclasses.replace(reading, segmentation=str(Path(reading.segmentation).resolve()))
    hounsfield = reading.vessels is None and reading.units == "HU"
    points = Points(threshold=protocol.points.threshold if hounsfield else None)
    return dataclasses.replace(protocol, volume=VolumeSource(str(Path(path).resolve()), reading), points=points)
