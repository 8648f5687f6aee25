"""From where an X-ray was taken, and how its image is shown: the C-arm's angles, mirrored or not, turned or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.angles import shown_axes
from XVRegistrationLib.imaging.dicom.dataset import CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING, numbers
from XVRegistrationLib.imaging.dicom.isocenter import angles_of_machine
from XVRegistrationLib.imaging.dicom.stated import DEGREES, TO_RAS, Stated, label, within, word
from XVRegistrationLib.imaging.partial import mirrored_origin

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_NEAR = 0.55
"""Cosine to the stated direction that an image axis needs for being the one that is meant."""
_BETTER = 0.4
"""By so much the two cosines of the best way to show an image exceed in sum those of the next best."""

_RADIOGRAPH = {"AP": (180.0, 0.0, False), "PA": (0.0, 0.0, True), "LL": (90.0, 0.0, False), "RL": (-90.0, 0.0, False)}
"""ViewPosition (0018,5101) of a radiograph -> primary and secondary angle, and whether it is usually shown mirrored."""

_VIEW_CODES = {
    "399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA", "R-40888": "PA",
    "399173006": "LL", "R-10236": "LL", "399198007": "RL", "R-10232": "RL",
}  # fmt: skip
"""Code of ViewCodeSequence, of SNOMED CT and as it was before 2018 (PS3.16, CID 4010) -> ViewPosition."""


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
            by_machine = angles_of_machine(dataset)
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
    view, keyword = _view(dataset)
    radiograph = _RADIOGRAPH.get(view)
    if radiograph is None or dataset.get("SOPClassUID") not in (CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING):
        return primary, secondary, True
    said = f"The direction is that of {label(keyword)}, {view}."
    notes = (*primary.notes, *secondary.notes, said)
    return Stated(radiograph[0], "derived", notes), Stated(radiograph[1], "derived"), radiograph[2]


def _angle(dataset: Dataset, which: str) -> Stated[float]:
    """An angle about the patient (PS3.3 C.8.7.5.1.2); dataset.plain has made it the frame's own where the C-arm moved."""
    value, notes = within(dataset, f"Positioner{which}Angle", 1, DEGREES, "degrees")
    return Stated(None if value is None else value[0], "" if value is None else "tag", notes)


def _view(dataset: Dataset) -> tuple[str, str]:
    """The view of a radiograph as ViewPosition names it, and the element that states it; empty where none does.

    ViewCodeSequence replaces ViewPosition (PS3.3, C.8.11.5.1.1). A view that is modified, such as axial, is another one.
    """
    for item in dataset.get("ViewCodeSequence") or ():
        if item.get("ViewModifierCodeSequence"):
            return "", ""
        found = _VIEW_CODES.get(word(item, "CodeValue"))
        if found:
            return found, "ViewCodeSequence"
    return word(dataset, "ViewPosition"), "ViewPosition"


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
    if not 1 <= len(letters) <= 3 or not set(letters) <= set(TO_RAS):
        return None
    vector = np.sum([np.array(TO_RAS[c], dtype=np.float64) * 0.6**i for i, c in enumerate(letters)], axis=0)
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
