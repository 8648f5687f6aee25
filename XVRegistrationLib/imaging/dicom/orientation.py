"""From where an X-ray was taken, and how its image is shown: the C-arm's angles, mirrored or not, turned or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.angles import angles_of, shown_axes
from XVRegistrationLib.imaging.dicom.dataset import CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING, numbers
from XVRegistrationLib.imaging.dicom.stated import Stated, label, within, word
from XVRegistrationLib.imaging.partial import mirrored_origin

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_ANGLES = (-180.0, 180.0)
_NEAR = 0.55
"""Cosine to the stated direction that an image axis needs for being the one that is meant."""
_BETTER = 0.4
"""By so much the two cosines of the best way to show an image exceed in sum those of the next best."""

_RADIOGRAPH = {"AP": (180.0, 0.0, False), "PA": (0.0, 0.0, True), "LL": (90.0, 0.0, False), "RL": (-90.0, 0.0, False)}
"""ViewPosition (0018,5101) of a radiograph -> primary and secondary angle, and whether it is usually shown mirrored."""

_TO_RAS = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip

_LYING = {
    "HFS": ("L", "P", "H"), "HFP": ("R", "A", "H"), "HFDR": ("P", "R", "H"), "HFDL": ("A", "L", "H"),
    "FFS": ("R", "P", "F"), "FFP": ("L", "A", "F"), "FFDR": ("A", "R", "F"), "FFDL": ("P", "L", "F"),
}  # fmt: skip
"""PatientPosition -> what lies along the table's x, y and z (PS3.17 FFF.1.2.2.2: the columns of its cosines, read by row)."""


@dataclass(frozen=True)
class Orientation:
    """Angles in degrees as in geometry.angles, and how the image is shown."""

    primary: Stated[float]
    secondary: Stated[float]
    mirrored: Stated[bool]
    rotation: Stated[int]
    """The image was turned clockwise by so many degrees, from one whose rows run towards the feet."""


def orientation(dataset: Dataset, mirrored: bool | None) -> Orientation:
    """How the C-arm stood about the patient, and how the image shows that; `mirrored` is what the user says, if he does.

    Without PatientOrientation an angiogram is taken as shown upright and as if one faced the patient, as plain XA assumes
    (PS3.17 FFF.2.1.3.1.2): with the source behind the patient it is mirrored.
    """
    primary, secondary, usually_mirrored = _angles(dataset)
    if primary.value is None or secondary.value is None:
        known = Stated(bool(mirrored), mirrored_origin(mirrored))
        return Orientation(primary, secondary, known, Stated())
    user = None if mirrored is None else Stated(mirrored, mirrored_origin(mirrored))
    directions = _stated_directions(dataset)
    if directions is None:
        return Orientation(primary, secondary, user or Stated(usually_mirrored, "assumed"), Stated())
    found = _way_shown(primary.value, secondary.value, directions, mirrored)
    if found is None:
        said = (
            f"{label('PatientOrientation')} does not go with the angles"
            f"{'' if mirrored is None else ' and the mirroring that was given'}: it was ignored."
        )
        known = user or Stated(usually_mirrored, "assumed")
        return Orientation(primary, secondary, Stated(known.value, known.origin, (said,)), Stated())
    shown_mirrored, rotation = found
    return Orientation(primary, secondary, user or Stated(shown_mirrored, "derived"), Stated(rotation, "derived"))


def _angles(dataset: Dataset) -> tuple[Stated[float], Stated[float], bool]:
    """Both angles, and whether such an image is usually mirrored."""
    kind = word(dataset, "PositionerType")
    if kind in ("", "CARM"):
        primary, secondary = (_angle(dataset, which) for which in ("Primary", "Secondary"))
        if primary.value is None and secondary.value is None:
            by_machine = _angles_of_machine(dataset)
            if by_machine is not None:
                return (*by_machine, True)
        if primary.value is not None and secondary.value is not None:
            lying = word(dataset, "PatientPosition")
            if lying not in ("", "HFS"):
                said = (
                    f"{label('PatientPosition')} is {lying[:8]}. The angles are taken to be about the patient, as DICOM "
                    "defines them; they are wrong if the C-arm had been told another position."
                )
                primary = Stated(primary.value, primary.origin, (*primary.notes, said))
            return primary, secondary, True
        if (primary.value is None) != (secondary.value is None):
            said = "Only one of the C-arm's two angles is stated, which gives no direction."
            return Stated(primary.value, primary.origin, (*primary.notes, said)), secondary, True
    else:
        primary = secondary = Stated()
        if numbers(dataset, "PositionerPrimaryAngle", 1) is not None:
            primary = Stated(None, "", (f"The angles are not those of a C-arm but of {kind[:16]}: they were ignored.",))
    radiograph = _RADIOGRAPH.get(word(dataset, "ViewPosition"))
    if radiograph is None or dataset.get("SOPClassUID") not in (CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING):
        return primary, secondary, True
    said = f"The direction is that of {label('ViewPosition')}, {word(dataset, 'ViewPosition')}."
    notes = (*primary.notes, *secondary.notes, said)
    return Stated(radiograph[0], "derived", notes), Stated(radiograph[1], "derived"), radiograph[2]


def _angle(dataset: Dataset, which: str) -> Stated[float]:
    """An angle about the patient (PS3.3 C.8.7.5.1.2); dataset.plain has made it the frame's own where the C-arm moved."""
    value, notes = within(dataset, f"Positioner{which}Angle", 1, _ANGLES, "degrees")
    return Stated(None if value is None else value[0], "" if value is None else "tag", notes)


def _angles_of_machine(dataset: Dataset) -> tuple[Stated[float], Stated[float]] | None:
    """Angles about the patient by those about the isocentre (PS3.3 C.8.19.6.13.1.2) and how the patient lies; or None.

    The machine's x, y and z are the table's (to the left, back and head of a patient who lies head first, supine) while
    the table is level and straight; its angles go from -y towards x, and towards z.
    """
    stated = [
        within(dataset, f"PositionerIsocenter{w}Angle", 1, _ANGLES, "degrees")[0] for w in ("Primary", "Secondary")
    ]
    lying = _LYING.get(word(dataset, "PatientPosition"))
    if stated[0] is None or stated[1] is None or lying is None:
        return None
    tilts = ("TableHorizontalRotationAngle", "TableHeadTiltAngle", "TableCradleTiltAngle")
    if any((numbers(dataset, keyword, 1) or (0.0,))[0] != 0 for keyword in tilts):
        said = "The C-arm's angles are about the machine, and the table is turned or tilted: they were ignored."
        return Stated(None, "", (said,)), Stated()
    (a,), (b,) = np.radians(stated[0]), np.radians(stated[1])
    towards = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    axes = np.array([_TO_RAS[letter] for letter in lying], dtype=np.float64)
    primary, secondary = angles_of(towards @ axes)
    said = (
        f"The angles about the patient are those about the machine for a patient who lies {word(dataset, 'PatientPosition')}; "
        "how the detector was turned about the beam is not used."
    )
    return Stated(primary, "derived", (said,)), Stated(secondary, "derived")


def _stated_directions(dataset: Dataset) -> NDArray[np.float64] | None:
    """(2, 3) unit vectors in RAS along the image's rows and down its columns; None where nothing says so."""
    cosines = numbers(dataset, "ImageOrientationPatient", 6)
    if cosines is not None:
        lps = np.reshape(cosines, (2, 3))
        if np.allclose(lps @ lps.T, np.eye(2), atol=1e-3):
            return lps * [-1.0, -1.0, 1.0]
    rows = [_direction(letters) for letters in _words(dataset, "PatientOrientation")]
    if len(rows) != 2:
        return None
    if rows[0] is None or rows[1] is None or abs(rows[0] @ rows[1]) > 0.9:
        return None
    return np.array(rows)


def _words(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    return [] if value is None or isinstance(value, (str, int, float)) else [str(one) for one in value]


def _direction(letters: str) -> NDArray[np.float64] | None:
    """Unit vector in RAS of letters like `LP`, of which the first counts most (PS3.3 C.7.6.1.1.1)."""
    letters = letters.strip().upper()
    if not 1 <= len(letters) <= 3 or not set(letters) <= set(_TO_RAS):
        return None
    vector = np.sum([np.array(_TO_RAS[c], dtype=np.float64) * 0.6**i for i, c in enumerate(letters)], axis=0)
    length = float(np.linalg.norm(vector))
    return None if length < 0.1 else vector / length


def _way_shown(
    primary: float, secondary: float, directions: NDArray[np.float64], mirrored: bool | None
) -> tuple[bool, int] | None:
    """Whether the image is mirrored, and how it is turned, so that it shows the stated directions; None if none does."""
    ways = [(m, turn) for m in (True, False) if mirrored in (None, m) for turn in (0, 90, 180, 270)]
    cosines = [(shown_axes(primary, secondary, m, turn) * directions).sum(axis=1) for m, turn in ways]
    order = np.argsort([-c.sum() for c in cosines])
    best = cosines[order[0]]
    if best.min() < _NEAR or best.sum() - cosines[order[1]].sum() < _BETTER:
        return None
    return ways[order[0]]
