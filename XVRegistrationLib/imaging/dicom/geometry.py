"""What a DICOM X-ray states of its geometry, each value with its origin and with what there is to say of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.imaging.dicom.dataset import SECONDARY_CAPTURE
from XVRegistrationLib.imaging.dicom.distances import NO_SID, distances
from XVRegistrationLib.imaging.dicom.field_of_view import principal_point, tilt
from XVRegistrationLib.imaging.dicom.orientation import Orientation, orientation
from XVRegistrationLib.imaging.dicom.spacing import NO_SPACING, Spacing, pixel_spacing
from XVRegistrationLib.imaging.dicom.stated import Stated
from XVRegistrationLib.imaging.partial import mirrored_origin, user_distance, user_spacing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class StatedGeometry:
    """The fields of `PartialXray` that are geometry."""

    values: dict[str, Any]
    """By the name of the field; None for what is not known."""
    origins: dict[str, str] = field(default_factory=dict)
    """Of the values that are known or assumed."""
    absent: dict[str, str] = field(default_factory=dict)
    """For each value that is needed and missing, the element that should have stated it."""
    notes: tuple[str, ...] = ()


def read_geometry(
    dataset: Dataset,
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
) -> StatedGeometry:
    """Geometry of an X-ray, in mm, degrees and px; what the user gives, goes first.

    The data set is one of a single frame (dataset.plain). A secondary capture states nothing that can be relied on.
    """
    if dataset.get("SOPClassUID") == SECONDARY_CAPTURE:
        return _only_given(sid, spacing, mirrored)
    sdd, sod = distances(dataset, sid)
    on_detector = pixel_spacing(dataset, spacing)
    way = orientation(dataset, mirrored)
    point = principal_point(dataset, on_detector.value, bool(way.mirrored.value))
    return _together(sdd, on_detector, sod, way, dataclasses.replace(point, notes=(*point.notes, *tilt(dataset))))


def _only_given(
    sid: float | None, spacing: float | tuple[float, float] | None, mirrored: bool | None
) -> StatedGeometry:
    sdd: Stated[float] = Stated(None, NO_SID) if sid is None else Stated(user_distance(sid), "user")
    size: Stated[Spacing] = Stated(None, NO_SPACING) if spacing is None else Stated(user_spacing(spacing), "user")
    way = Orientation(Stated(), Stated(), Stated(bool(mirrored), mirrored_origin(mirrored)), Stated())
    return _together(sdd, size, Stated(), way, Stated(None, "assumed"))


def _together(
    sdd: Stated[float],
    spacing: Stated[Spacing],
    sod: Stated[float],
    way: Orientation,
    point: Stated[tuple[float, float]],
) -> StatedGeometry:
    stated: dict[str, Stated[Any]] = {
        "sdd": sdd,
        "spacing": spacing,
        "principal_point": point,
        "mirrored": way.mirrored,
        "primary_angle": way.primary,
        "secondary_angle": way.secondary,
        "rotation": way.rotation,
        "sod": sod,
    }
    known = {name for name, one in stated.items() if one.value is not None} | {"principal_point"}
    return StatedGeometry(
        values={name: one.value for name, one in stated.items()},
        origins={name: one.origin for name, one in stated.items() if name in known},
        absent={name: stated[name].origin for name in ("sdd", "spacing") if name not in known},
        notes=tuple(dict.fromkeys(note for one in stated.values() for note in one.notes)),
    )
