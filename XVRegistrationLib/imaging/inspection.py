"""What is understood of an X-ray, derived, assumed and missing, in words; and the form of what is said of any file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.intensity import unattenuated
from XVRegistrationLib.imaging.picture_meaning import CERTAIN, recognise
from XVRegistrationLib.imaging.usable import left_out, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray

ORIGINS = {
    "tag": "stated",
    "derived": "derived",
    "assumed": "assumed",
    "user": "given",
    "measured": "measured",
    "missing": "MISSING",
}
"""Origin of a value -> the word for it."""

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
    said = (
        f"{parts.frames}"
        if parts.frame is None
        else f"{parts.frames}; shown is {parts.frame} of 0 to {parts.frames - 1}"
    )
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
        return _turned(value, "LAO", "RAO")
    if name == "secondary_angle":
        return _turned(value, "CRA", "CAU")
    if name == "rotation":
        return f"{value} degrees clockwise" if value else "0 degrees"
    return "yes" if value else "no"


def _turned(degrees: float, positive: str, negative: str) -> str:
    """An angle with the name of its side, where it has one."""
    if round(abs(degrees) % 180, 1) in (0.0, 180.0):
        return f"{abs(degrees):.0f} degrees"
    return f"{abs(degrees):.1f} degrees {positive if degrees > 0 else negative}"


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
        facts.append(Fact(name, what, percent(share), share, "measured"))
    good = usable(parts, counts)
    share = 1.0 if good is None else float(good.mean())
    facts.append(Fact("counts", "Counts in a registration", percent(share), share, "measured"))
    return facts


def percent(share: float) -> str:
    """A share of the pixels in words."""
    if share in (0, 1):
        return "everything" if share else "nothing"
    # What is there is never rounded to nothing, nor what is lacking to everything.
    said = "less than 0.1" if share < 0.0005 else "more than 99.9" if share > 0.9995 else f"{100 * share:.1f}"
    return f"{said} % of the pixels"
