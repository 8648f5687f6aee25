"""What is understood of an X-ray or a volume, derived, assumed and missing, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.describe import describe, finite_range
from XVRegistrationLib.imaging.intensity import unattenuated
from XVRegistrationLib.imaging.picture_meaning import CERTAIN, recognise
from XVRegistrationLib.imaging.usable import left_out, usable
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.volumes.stored import Stored

ORIGINS = {
    "tag": "stated",
    "derived": "derived",
    "assumed": "assumed",
    "user": "given",
    "measured": "measured",
    "missing": "MISSING",
}
"""Origin of a value -> the word for it."""

_AIR = -1000.0
_METAL = 3000.0
# What is said of each value, and where DICOM states it. PS3.3: C.8.7.5, C.8.7.6, C.8.7.7, C.8.11.7, C.8.19.
_WORDS = {
    "sdd": ("Distance source to detector", "DistanceSourceToDetector (0018,1110)"),
    "sod": ("Distance source to isocentre", "DistanceSourceToPatient (0018,1111)"),
    "spacing": ("Pixel spacing on the detector", "ImagerPixelSpacing (0018,1164)"),
    "principal_point": ("Central ray meets the image at", "FieldOfViewOrigin (0018,7030)"),
    "primary_angle": ("C-arm angle right/left", "PositionerPrimaryAngle (0018,1510)"),
    "secondary_angle": ("C-arm angle head/feet", "PositionerSecondaryAngle (0018,1511)"),
    "rotation": ("Image turned by", "PatientOrientation (0020,0020)"),
    "mirrored": ("Stored mirrored", "PatientOrientation (0020,0020)"),
    "scale": ("Grey values", "PixelIntensityRelationship (0028,1040)"),
}
_SCALES = {"intensity": "bright is much radiation", "attenuation": "bright is dense"}
_GIVE = {"sdd": "--sid MM", "spacing": "--spacing DX DY"}


@dataclass(frozen=True)
class Fact:
    """One thing that is known, or that should be."""

    name: str
    """For programs."""
    what: str
    said: str
    """The value in words, with its unit."""
    value: Any
    """As JSON holds it; None where it is missing."""
    origin: str
    """Of ORIGINS."""
    where: str = ""
    """The attribute that states it, or the option that gives it."""


@dataclass(frozen=True)
class Inspection:
    """What is understood of a file."""

    kind: str
    """"X-ray" or "volume"."""
    title: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    """What must be given before it can be used, as sentences."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON; it names neither a file nor a person."""
        return {
            "kind": self.kind,
            "title": self.title,
            "values": {
                f.name: {"value": f.value, "origin": f.origin, "said": f.said, "where": f.where} for f in self.facts
            },
            "notes": list(self.notes),
            "missing": list(self.missing),
        }


def inspect_xray(parts: PartialXray, words: DicomWords | None, counts: NDArray[np.bool_] | None = None) -> Inspection:
    """What is understood of an X-ray; `words` are a DICOM file's, `counts` (H, W) what the user lets count.

    Raises InputError for an image without content.
    """
    facts = [_pixels(parts, words), *_frames(parts)]
    facts += [_geometry(parts, name, words is not None) for name in _WORDS if name in parts.known or name in _GIVE]
    facts += [_scale(parts, words), _by_the_picture(parts)]
    facts += _intensities(parts, counts)
    if words is not None and words.orientation is not None:
        row, column = words.orientation
        said = f"rows run towards {row}, columns towards {column}"
        facts.append(Fact("orientation", "Patient", said, [row, column], "tag", "PatientOrientation (0020,0020)"))
    missing = tuple(f"{_WORDS[n][0]}: give it with {_GIVE[n]}." for n in parts.missing)
    title = "Picture without an X-ray's header" if words is None else f"{words.kind}, {words.compression}"
    return Inspection("X-ray", title, tuple(facts), tuple(getattr(parts, "notes", ())), missing)


def _pixels(parts: PartialXray, words: DicomWords | None) -> Fact:
    width, height = parts.size
    said = f"{width} x {height} pixels"
    if words is not None and "BitsStored" in words.numbers:
        said += f" of {words.numbers['BitsStored']} bits"
    return Fact("size", "Image", said, [width, height], "tag", "Rows, Columns (0028,0010)" if words else "")


def _frames(parts: PartialXray) -> list[Fact]:
    if parts.frames <= 1:
        return []
    said = f"{parts.frames}" if parts.frame is None else f"{parts.frames}, this is number {parts.frame} from 0"
    return [Fact("frames", "Frames", said, parts.frames, "tag", "NumberOfFrames (0028,0008)")]


def _geometry(parts: PartialXray, name: str, dicom: bool) -> Fact:
    what, where = _WORDS[name]
    value = parts.known.get(name)
    if value is None:
        stated = parts.absent.get(name, where)
        return Fact(name, what, "not stated", None, "missing", f"{stated}; {_GIVE[name]}")
    origin = parts.origins.get(name, "assumed")
    return Fact(name, what, _said(name, value), value, origin, _where(where, origin, dicom))


def _where(attribute: str, origin: str, dicom: bool) -> str:
    """What states a value, or does not."""
    if not dicom or origin == "user":
        return ""
    return f"no usable {attribute}" if origin == "assumed" else attribute if origin == "tag" else ""


def _said(name: str, value: Any) -> str:
    """A value of the geometry with its unit."""
    if name in ("sdd", "sod"):
        return f"{value:.1f} mm"
    if name == "spacing":
        return f"{value[0]:.4g} x {value[1]:.4g} mm"
    if name == "principal_point":
        return f"column {value[0]:.1f}, row {value[1]:.1f}"
    if name == "primary_angle":
        return f"{abs(value):.1f} degrees {'LAO' if value >= 0 else 'RAO'}"
    if name == "secondary_angle":
        return f"{abs(value):.1f} degrees {'CRA' if value >= 0 else 'CAU'}"
    if name == "rotation":
        return f"{value} degrees clockwise"
    return "yes" if value else "no"


def _scale(parts: PartialXray, words: DicomWords | None) -> Fact:
    what, where = _WORDS["scale"]
    relationship = "" if words is None else words.enumerated.get("PixelIntensityRelationship", "")
    said = _SCALES[parts.scale] + (f" (stored as {relationship})" if relationship else "")
    origin = parts.origins.get("scale", "assumed")
    return Fact("scale", what, said, parts.scale, origin, _where(where, origin, words is not None))


def _by_the_picture(parts: PartialXray) -> Fact:
    """What the grey values, as they are understood, seem to mean by the picture alone."""
    found = recognise(parts.pixels)
    said = _SCALES["attenuation" if found.bright_is_dense > 0.5 else "intensity"]
    sure = "" if found.certainty >= CERTAIN else ": too little to say so"
    told = f"{said}, certainty {found.certainty:.0%}{sure}"
    return Fact("picture", "By the picture alone", told, found.probabilities, "measured")


def _intensities(parts: PartialXray, counts: NDArray[np.bool_] | None) -> list[Fact]:
    """What was found in the picture itself."""
    low, high = float(np.min(parts.pixels)), float(np.max(parts.pixels))
    facts = [Fact("range", "Values", f"{low:g} to {high:g}", [low, high], "measured")]
    if parts.scale == "intensity":
        beam = unattenuated(parts)
        of = (
            f"an unattenuated area, {beam.share:.0%} of what counts"
            if beam.source == "area"
            else "the brightest that counts"
        )
        facts.append(Fact("i0", "Unattenuated beam I0", f"{beam.value:.4g}, from {of}", beam.value, "measured"))
    found = left_out(parts)
    for name, what, where in (
        ("collimated", "Behind a collimator or shutter", found.collimated),
        ("saturated", "Saturated", found.saturated),
        ("marked", "Text and markers", found.marked),
        ("by_the_file", "Left out by the file", found.by_the_file),
    ):
        share = float(where.mean())
        facts.append(Fact(name, what, _percent(share), share, "measured"))
    good = usable(parts, counts)
    share = 1.0 if good is None else float(good.mean())
    facts.append(Fact("counts", "Counts in a registration", _percent(share), share, "measured"))
    return facts


def _percent(share: float) -> str:
    return "nothing" if share == 0 else "everything" if share == 1 else f"{100 * share:.1f} % of the pixels"


def inspect_volume(
    stored: Stored, words: DicomWords | None, understand: Callable[[], Sequence[str]] = tuple
) -> Inspection:
    """What is understood of a volume as it is `stored`, and what is done with its voxels before X-rays are rendered from it.

    `understand` gives the voxels a meaning, in place after they were looked at, and says what it found and did; its
    InputError is why it could not.
    """
    volume = Volume(stored.array, stored.ijk_to_ras)
    description = describe(volume)
    low, high = finite_range(volume.array)
    hounsfield = _hounsfield(volume)
    said, problem = stored.notes, ""
    try:
        said = tuple(understand())
    except InputError as e:
        problem = str(e)
    facts = _grid(volume)
    facts.append(Fact("range", "Values", f"{low:g} to {high:g}{'' if problem else ' HU'}", [low, high], "measured"))
    title = "Volume" if words is None else words.kind
    if problem:
        return Inspection("volume", title, tuple(facts), said, (problem,))
    missing = () if description.ok else (f"X-rays cannot be expected to be rendered from it: {description.sentence}",)
    return Inspection("volume", title, (*facts, *hounsfield), said, missing)


def _grid(volume: Volume) -> list[Fact]:
    """Where the voxels lie."""
    size = volume.array.shape[::-1]
    extent = [float(n * s) for n, s in zip(size, volume.spacing, strict=True)]
    letters = axis_letters(volume)
    tilt = _tilt(volume)
    oblique = f", turned by up to {tilt:.1f} degrees" if tilt > 0.05 else ""
    return [
        Fact("size", "Voxels", " x ".join(f"{n}" for n in size), list(size), "tag"),
        Fact("spacing", "Voxel spacing", _joined(volume.spacing, 3), volume.spacing.tolist(), "tag"),
        Fact("extent", "Extent", _joined(np.array(extent), 0), extent, "derived"),
        Fact("orientation", "Axes run towards", f"{', '.join(letters)}{oblique}", list(letters), "tag"),
    ]


def _hounsfield(volume: Volume) -> list[Fact]:
    """The shares of voxels that are no tissue at all, and of those beyond what scanners store as bone."""
    padding, metal = float(np.mean(volume.array < _AIR)), float(np.mean(volume.array > _METAL))
    told = f"{_percent(padding)}, taken as air" if padding else "nothing"
    return [
        Fact("padding", f"Below {_AIR:g} HU", told.replace("pixels", "voxels"), padding, "measured"),
        Fact("metal", f"Above {_METAL:g} HU (metal)", _percent(metal).replace("pixels", "voxels"), metal, "measured"),
    ]


def axis_letters(volume: Volume) -> tuple[str, str, str]:
    """The patient's side (R, L, A, P, H or F) that the axes i, j, k run towards; of an oblique axis, the nearest."""
    directions = volume.ijk_to_ras[:3, :3] / volume.spacing
    letters = []
    for axis in directions.T:
        largest = int(np.argmax(np.abs(axis)))
        letters.append(("RL", "AP", "HF")[largest][0 if axis[largest] > 0 else 1])
    return letters[0], letters[1], letters[2]


def _tilt(volume: Volume) -> float:
    """Largest angle between an axis and the patient's nearest, degrees."""
    directions = volume.ijk_to_ras[:3, :3] / volume.spacing
    return float(np.rad2deg(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _joined(values: NDArray[np.float64], digits: int) -> str:
    return " x ".join(f"{v:.{digits}f}" for v in values) + " mm"


def check_frame(text: str) -> int | str:
    """The frame that a user asks for: an index from 0, "min", "max" or "mean"; InputError for anything else."""
    if text in ("min", "max", "mean"):
        return text
    if text.isdecimal():
        return int(text)
    raise InputError(f"--frame must be a number from 0, or min, max or mean, not {text[:20]!r}.")
