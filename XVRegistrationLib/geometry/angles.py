"""The C-arm's angles, as DICOM and the operator call them, and the pose that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

_BEHIND = 90.0
"""Degrees of the primary angle from which on the detector lies behind the patient, and the source in front."""


def pose_from_angles(primary_deg: float, secondary_deg: float, sod: float, isocenter: ArrayLike) -> NDArray[np.float64]:
    """Pose (4, 4), camera -> RAS, mm, of a C-arm turned about `isocenter` (3,), RAS mm, with the source `sod` mm from it.

    The angles place the detector about a patient who lies supine, head first: primary positive towards the left (LAO),
    secondary positive towards the head (CRA). At zero the source is behind the patient, so that the image that one
    sees, facing the patient, is a mirrored one. Rows run towards the feet.
    """
    if not (np.isfinite([primary_deg, secondary_deg]).all() and np.isfinite(sod) and sod > 0):
        raise InputError(
            "The C-arm's angles must be numbers of degrees, and the distance from source to isocentre a positive number "
            f"of mm: got {primary_deg}, {secondary_deg} and {sod}."
        )
    (sin_a, sin_b), (cos_a, cos_b) = (f(np.radians([primary_deg, secondary_deg])) for f in (np.sin, np.cos))
    # The detector moves along a sphere: x is its direction of growing primary angle at the equator, y of falling secondary.
    x = [cos_a, sin_a, 0.0]
    y = [-sin_a * sin_b, cos_a * sin_b, -cos_b]
    z = np.array([-sin_a * cos_b, cos_a * cos_b, sin_b])
    return rigid(np.stack([x, y, z], axis=-1), np.asarray(isocenter, dtype=np.float64) - sod * z)


def angles_of(direction: ArrayLike) -> tuple[float, float]:
    """Primary and secondary angle, degrees, of a C-arm whose detector lies in a direction (3,), RAS, from the isocentre."""
    r, a, s = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    return float(np.degrees(np.arctan2(-r, a))), float(np.degrees(np.arcsin(np.clip(s, -1, 1))))


def direction_in_words(pose: ArrayLike) -> str:
    """Where the detector of a pose (4, 4), camera -> RAS, lies about the patient, in the operator's words: LAO 30.0, CRAN 5.0."""
    primary, secondary = angles_of(np.asarray(pose, dtype=np.float64)[:3, 2])
    words = f"{'LAO' if primary >= 0 else 'RAO'} {abs(primary):.1f}°, {'CRAN' if secondary >= 0 else 'CAUD'} {abs(secondary):.1f}°"
    return words if abs(primary) <= _BEHIND else f"{words} (detector behind the patient)"


def turn_of(pose: ArrayLike) -> float:
    """By how many degrees, clockwise as seen from the source, a camera (4, 4) is turned about its beam from the upright one."""
    matrix = np.asarray(pose, dtype=np.float64)[:3, :3]
    upright = pose_from_angles(*angles_of(matrix[:, 2]), 1.0, np.zeros(3))[:3, :3]
    turned = upright.T @ matrix
    return float(np.degrees(np.arctan2(turned[1, 0], turned[0, 0])))


def shown_axes(primary_deg: float, secondary_deg: float, mirrored: bool, rotation_deg: float) -> NDArray[np.float64]:
    """(2, 3) directions in RAS along the rows and down the columns of an image as it is shown.

    That is one of a C-arm at these angles, mirrored or not, then turned clockwise by `rotation_deg`.
    """
    axes = pose_from_angles(primary_deg, secondary_deg, 1.0, np.zeros(3))[:3, :2].T
    right, down = (-axes[0] if mirrored else axes[0]), axes[1]
    sin, cos = np.sin(np.radians(rotation_deg)), np.cos(np.radians(rotation_deg))
    # The axes of the screen turn the other way with respect to what is shown.
    return np.stack([cos * right - sin * down, sin * right + cos * down])


def header_pose(known: Mapping[str, Any], isocenter: ArrayLike, sod: float) -> NDArray[np.float64] | None:
    """Pose (4, 4), camera -> RAS, mm, of an X-ray by what is known of it (`PartialXray.known`) about an isocentre (3,).

    `sod` is the distance from the source to the isocentre, mm, for an X-ray that does not state its own. None where the
    C-arm's angles are not known.
    """
    primary, secondary = known.get("primary_angle"), known.get("secondary_angle")
    if primary is None or secondary is None:
        return None
    pose = pose_from_angles(float(primary), float(secondary), float(known.get("sod") or sod), isocenter)
    turn = np.radians(float(known.get("rotation") or 0))
    # A mirrored image is turned clockwise where the camera sees it turn the other way.
    about_beam = rotation_from_vector([0.0, 0.0, turn if known.get("mirrored") else -turn])
    return rigid(pose[:3, :3] @ about_beam, pose[:3, 3])
