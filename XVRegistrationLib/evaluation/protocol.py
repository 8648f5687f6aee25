"""An evaluation's protocol: which volume, which X-rays, how they are registered; read from a TOML file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.obstacles import Obstacles
from XVRegistrationLib.evaluation.simulation import ExposureRange
from XVRegistrationLib.evaluation.toml_fields import Fields, read_toml
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange
from XVRegistrationLib.imaging.volume import read_label_names
from XVRegistrationLib.imaging.volumes.densities import read_densities
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.registration.bank import BANK_SIZE
from XVRegistrationLib.rendering.spectrum import Tube
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

SHIPPED = ("psss", "wide", "near", "far", "strong-scatter", "vessels", "hard", "hard-wide")
"""Names of the protocols in Resources/protocols."""
DEMO, VESSELS, GIVEN = "demo", "vessels", "given"
"""Sources of a volume that are no path: the demo's chest CT, the simulated vessel tree, what the caller brings."""
SOURCES = ("network", "bank")
_SMALLEST = 1e-6


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


def find_protocol(name: str | os.PathLike[str]) -> Path:
    """The file of a shipped protocol, by its name, or the path itself; InputError where there is neither."""
    if str(name) in SHIPPED:
        return resource(f"protocols/{name}.toml")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name} is neither a file nor one of the protocols that come along: {', '.join(SHIPPED)}.")
    return path


def read_protocol(path: str | os.PathLike[str]) -> Protocol:
    """Read a protocol; InputError that names the file and the field for whatever is wrong, missing or not known."""
    file = Path(path)
    top = Fields(file, "the file", read_toml(file), whole_file=True)
    tables = {name: Fields(file, name, top.take(name, {})) for name in _TABLES}
    start = Fields(file, "start", top.take("start")) if "start" in top else None
    spectrum = Fields(file, "spectrum", top.take("spectrum")) if "spectrum" in top else None
    obstacles = Fields(file, "obstacles", top.take("obstacles")) if "obstacles" in top else None
    view_name, sod = _view(tables["view"])
    poses = _poses(tables["poses"])
    protocol = Protocol(
        name=file.stem,
        title=top.text("title", file.stem),
        volume=_volume(tables["volume"], file),
        view=view_name,
        sod=sod,
        intrinsics=_intrinsics(tables["detector"], view_name),
        poses=poses,
        registration=_registration(tables["registration"], poses.range, started=start is not None),
        exposure=_exposure(tables["exposure"]),
        obstacles=None if obstacles is None else _obstacles(obstacles),
        spectrum=None if spectrum is None else _spectrum(spectrum, file),
        start=None if start is None else StartError(start.number("mm", low=0), start.number("degrees", low=0, high=90)),
        points=_points(tables["points"]),
    )
    for fields in (*tables.values(), top, start, spectrum, obstacles):
        if fields is not None:
            fields.finish()
    if spectrum is not None and (protocol.volume.subtracted or protocol.volume.reading.units != "HU"):
        raise spectrum.wrong("kvp", "needs a CT in Hounsfield units, and the protocol's volume is something else")
    return protocol


_TABLES = ("volume", "view", "detector", "poses", "exposure", "registration", "points")


def _volume(fields: Fields, file: Path) -> VolumeSource:
    source = fields.text("source", DEMO)
    reading = _reading(fields, file)
    labels, names = fields.text("labels", ""), fields.text("label_names", "")
    if bool(labels) != bool(names):
        raise fields.wrong("labels", "and volume.label_names belong together; give both or none")
    paths = [p if not p or p in (DEMO, VESSELS, GIVEN) else str(file.parent / p) for p in (source, labels, names)]
    if reading != Reading() and source in (DEMO, VESSELS, GIVEN):
        raise fields.wrong("source", f"must be a file or folder for what is said of its values, not {source!r}")
    kept = fields.numbers("kept", 3, (1.0, 1.0, 1.0), low=0.1)
    if max(kept) > 1:
        raise fields.wrong("kept", f"must be shares of the volume, at most 1, not {max(kept):g}")
    return VolumeSource(paths[0], reading, paths[1], paths[2], (kept[0], kept[1], kept[2]))


def _reading(fields: Fields, file: Path) -> Reading:
    """What the values of the volume are, as the command line says it: `--as`, `--not-scanned` and so on."""
    kind = fields.text("as", "ct")
    if kind not in ("ct", "hu", "attenuation", "vessels"):
        raise fields.wrong("as", f"must be hu, attenuation or vessels, not {kind!r}")
    low, high = fields.numbers("window", 2) if kind == "vessels" else (0.0, 1.0)
    segmentation, densities = fields.text("segmentation", ""), fields.text("densities", "")
    table = fields.text("segmentation_names", "")
    for name, given in (("densities", densities), ("segmentation_names", table)):
        if given and not segmentation:
            raise fields.wrong(name, "needs the structures: give volume.segmentation")
    try:
        return Reading(
            units="1/mm" if kind == "attenuation" else "HU",
            believed=kind == "hu",
            series=fields.text("series", "") or None,
            background=fields.number("not_scanned") if "not_scanned" in fields else None,
            vessels=(low, high) if kind == "vessels" else None,
            segmentation=str(file.parent / segmentation) if segmentation else None,
            label_names=tuple(read_label_names(file.parent / table).items()) if table else None,
            densities=read_densities(file.parent / densities) if densities else None,
        )
    except InputError as e:
        raise InputError(f"{file}: {e}") from e


def _view(fields: Fields) -> tuple[str, float]:
    name = fields.text("name", "AP")
    if name not in VIEWS:
        raise fields.wrong("name", f"must be one of {', '.join(VIEWS)}, not {name!r}")
    return name, fields.number("sod", low=_SMALLEST)


def _intrinsics(fields: Fields, view: str) -> Intrinsics:
    sid = fields.number("sid", low=_SMALLEST)
    dx, dy = fields.numbers("spacing", 2, low=_SMALLEST)
    width, height = fields.numbers("size", 2, low=16)
    if width % 1 or height % 1:
        raise fields.wrong("size", "must be two whole numbers of pixels")
    mirrored = NominalView(view, (0.0, 0.0, 0.0), 1.0).mirrored
    return Intrinsics.centered(sid, (dx, dy), (int(width), int(height)), mirrored)


def _range(fields: Fields, default: PoseRange | None = None) -> PoseRange:
    rotation = fields.numbers("rotation", 3, None if default is None else default.rotation, low=0)
    translation = fields.numbers("translation", 3, None if default is None else default.translation, low=0)
    if max(rotation) > 180:
        raise fields.wrong("rotation", "must be at most 180 degrees either way")
    return PoseRange((rotation[0], rotation[1], rotation[2]), (translation[0], translation[1], translation[2]))


def _poses(fields: Fields) -> Poses:
    return Poses(
        _range(fields), fields.number("min_body", 0.0, 0, 1), fields.whole("count", 200, 1), fields.whole("seed", 0)
    )


def _exposure(fields: Fields) -> ExposureRange:
    usual = ExposureRange()
    positive = {"scatter_to_primary", "photons", "gamma"}
    ranges = {
        f.name: fields.bounds(f.name, getattr(usual, f.name), _SMALLEST if f.name in positive else 0.0)
        for f in dataclasses.fields(usual)
        if f.name != "bits"
    }
    low, high = fields.bounds("bits", usual.bits, 1)
    if high > 16 or low % 1 or high % 1:
        raise fields.wrong("bits", "must be two whole numbers up to 16")
    return ExposureRange(**ranges, bits=(int(low), int(high)))


def _obstacles(fields: Fields) -> Obstacles:
    low, high = fields.bounds("instruments", (0.0, 0.0))
    if low % 1 or high % 1:
        raise fields.wrong("instruments", "must be two whole numbers")
    opening = fields.bounds("opening", (1.0, 1.0), low=0.1) if "opening" in fields else None
    return Obstacles((int(low), int(high)), opening, fields.number("off_centre", 0.0, 0, 0.5))


def _spectrum(fields: Fields, file: Path) -> Tube:
    try:
        return Tube(
            fields.number("kvp"),
            fields.number("aluminium_mm", Tube.aluminium_mm),
            fields.number("copper_mm", Tube.copper_mm),
        )
    except InputError as e:
        sentence = str(e)
        raise InputError(sentence if str(file) in sentence else f"{file}: spectrum: {sentence}") from e


def _registration(fields: Fields, covered: PoseRange, started: bool) -> RegistrationSettings:
    sources = fields.texts("sources", () if started else ("bank",))
    unknown = set(sources) - set(SOURCES)
    if unknown:
        raise fields.wrong("sources", f"must name {' and '.join(SOURCES)}, not {', '.join(sorted(unknown))}")
    if not sources and not started:
        raise fields.wrong("sources", "may be empty only where [start] gives starts")
    bank = fields.whole("bank", BANK_SIZE, 1)
    if bank & (bank - 1):
        raise fields.wrong("bank", f"must be a power of two, not {bank}")
    minutes = fields.number("minutes", 0.0, low=0)
    return RegistrationSettings(_range(fields, covered), sources, minutes, bank)


def _points(fields: Fields) -> Points:
    return Points(fields.texts("labels", ()), fields.number("threshold") if "threshold" in fields else None)
