"""A C-arm's angles about its own isocentre, and what they are about the patient on the table (PS3.3, C.8.19.6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.angles import angles_of
from XVRegistrationLib.imaging.dicom.dataset import numbers
from XVRegistrationLib.imaging.dicom.stated import DEGREES, TO_RAS, Stated, label, within, word

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_LYING = {
    "HFS": ("L", "P", "H"), "HFP": ("R", "A", "H"), "HFDR": ("P", "R", "H"), "HFDL": ("A", "L", "H"),
    "FFS": ("R", "P", "F"), "FFP": ("L", "A", "F"), "FFDR": ("A", "R", "F"), "FFDL": ("P", "L", "F"),
}  # fmt: skip
"""PatientPosition -> what lies along the table's x, y and z (PS3.17 FFF.1.2.2.2: the columns of its cosines, read by row)."""

_TABLE = ("TableHorizontalRotationAngle", "TableHeadTiltAngle", "TableCradleTiltAngle")


def angles_of_machine(dataset: Dataset) -> tuple[Stated[float], Stated[float]] | None:
    """Primary and secondary angle about the patient, degrees, by those about the isocentre, the table's and how one lies.

    None where they are not stated. What comes of a secondary angle is "assumed": C.8.19.6.13.1.2 has it positive towards the
    table's head, but says so of the axis to the source, while the primary angle goes the way of the detector. It is taken to
    be the detector's as well, which makes both those about a patient who lies head first, supine. The detector's rotation
    about the beam is not used: "clockwise when facing on to the detector plane" leaves open from which side.
    """
    stated = [
        within(dataset, f"PositionerIsocenter{w}Angle", 1, DEGREES, "degrees")[0] for w in ("Primary", "Secondary")
    ]
    lying = _LYING.get(word(dataset, "PatientPosition"))
    if stated[0] is None or stated[1] is None or lying is None:
        return None
    if word(dataset, "CArmPositionerTabletopRelationship") == "NO":
        said = (
            f"The C-arm's angles are about the machine, and by {label('CArmPositionerTabletopRelationship')} it does not "
            "know the table: they were ignored."
        )
        return Stated(None, "", (said,)), Stated()
    table = [(numbers(dataset, keyword, 1) or (0.0,))[0] for keyword in _TABLE]
    axes = np.array([TO_RAS[letter] for letter in lying], dtype=np.float64)
    primary, secondary = angles_of(table_axes(*table) @ detector_direction(stated[0][0], stated[1][0]) @ axes)
    origin = "assumed" if stated[1][0] else "derived"
    return Stated(primary, origin, _said(dataset, stated[1][0], table)), Stated(secondary, origin)


def detector_direction(primary_deg: float, secondary_deg: float) -> NDArray[np.float64]:
    """(3,) unit vector from the isocentre to the detector in the machine's x (left), y (down), z (head of the table).

    The primary angle goes from -y to x, the secondary one from the x-y plane to z.
    """
    (sin_a, sin_b), (cos_a, cos_b) = (f(np.radians([primary_deg, secondary_deg])) for f in (np.sin, np.cos))
    return np.array([sin_a * cos_b, -cos_a * cos_b, sin_b])


def table_axes(horizontal_deg: float, head_deg: float, cradle_deg: float) -> NDArray[np.float64]:
    """(3, 3) rows: the table's x, y and z in the machine's coordinates (C.8.19.6.13.1.3).

    z is turned in the horizontal plane from z to x and raised against it; x is raised against the horizontal direction
    that is perpendicular to z.
    """
    (sin_1, sin_2, sin_3), (cos_1, cos_2, cos_3) = (
        f(np.radians([horizontal_deg, head_deg, cradle_deg])) for f in (np.sin, np.cos)
    )
    z = np.array([sin_1 * cos_2, -sin_2, cos_1 * cos_2])
    level = np.array([cos_1, 0.0, -sin_1])
    x = cos_3 * level - sin_3 * np.cross(z, level)  # y points down
    return np.stack([x, np.cross(z, x), z])


def _said(dataset: Dataset, secondary: float, table: list[float]) -> tuple[str, ...]:
    on_table = " on a turned or tilted table" if any(table) else ""
    said = (
        f"The angles about the patient are those about the machine for a patient who lies {word(dataset, 'PatientPosition')}"
        f"{on_table}."
    )
    if secondary:
        said += " The standard leaves open whether the detector or the source is towards the head: please check it."
    rotation = numbers(dataset, "PositionerIsocenterDetectorRotationAngle", 1)
    if rotation is None or rotation[0] == 0:
        return (said,)
    return (
        said,
        f"{label('PositionerIsocenterDetectorRotationAngle')}, {rotation[0]:g} degrees about the beam, is not used.",
    )
