"""X-rays whose geometry is completed by a calibration file, or by what is known of a C-arm."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import camera_of

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.c_arms import CArm
    from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
    from XVRegistrationLib.imaging.partial import PartialXray

_AGREE = 0.01
_WORDS = {"sdd": "distance source-detector", "sod": "distance source-isocentre", "spacing": "pixel spacing"}


def with_calibration(parts: PartialXray, calibration: CalibratedCamera) -> PartialXray:
    """The X-ray with the camera of a calibration: its principal point, mirroring, and distance in pixels.

    A calibration gives no length on the detector: the X-ray's spacing fixes it, or else its distance source-detector, or
    the calibration's own pixel. Raises InputError for an image of another size, and for mirroring that the user denies.
    """
    if tuple(calibration.size) != parts.size:
        raise InputError(
            f"{parts.path} has {parts.size[0]} x {parts.size[1]} px, but its calibration is of images of "
            f"{calibration.size[0]} x {calibration.size[1]} px."
        )
    k = calibration.intrinsic / calibration.intrinsic[2, 2]
    pixel, notes = None, list(parts.notes)
    if parts.spacing is not None:
        pixel = parts.spacing[0]
    elif parts.sdd is not None:
        pixel = parts.sdd / abs(k[0, 0])
    elif calibration.pixel is None:
        notes.append("A calibration knows the distance source-detector in pixels only; 1000 mm stand for it in mm.")
    camera, _ = camera_of(calibration, pixel=pixel)
    if parts.origins.get("mirrored") == "user" and camera.mirrored != parts.mirrored:
        said = "mirrored" if camera.mirrored else "not mirrored"
        raise InputError(f"By its calibration {parts.path} is {said}: do not say otherwise.", give=("mirrored",))
    if parts.sdd is not None and abs(parts.sdd / camera.sdd - 1) > _AGREE:
        notes.append(
            f"The file says that the detector is {parts.sdd:g} mm from the source, the calibration {camera.sdd:.4g} mm: "
            "the calibration is used."
        )
    return dataclasses.replace(
        parts,
        sdd=camera.sdd,
        spacing=camera.spacing,
        principal_point=camera.principal_point,
        mirrored=camera.mirrored,
        origins={**parts.origins, **dict.fromkeys(("sdd", "spacing", "principal_point", "mirrored"), "user")},
        absent={},
        notes=tuple(notes),
    )


def with_c_arm(parts: PartialXray, c_arm: CArm) -> PartialXray:
    """The X-ray with what it lacks, and the C-arm has: distances, and the spacing of an image of the whole detector."""
    has: dict[str, Any] = {"sdd": c_arm.sid, "sod": c_arm.sod, "spacing": c_arm.spacing(parts.size)}
    taken = {name: value for name, value in has.items() if value is not None and getattr(parts, name) is None}
    notes = [f"From {c_arm.title}: {', '.join(_WORDS[name] for name in taken)}."] if taken else []
    if parts.sdd is not None and c_arm.longest_sid is not None and parts.sdd > c_arm.longest_sid * (1 + _AGREE):
        notes.append(
            f"{c_arm.title} has at most {c_arm.longest_sid:g} mm from source to detector, the file says {parts.sdd:g}."
        )
    return dataclasses.replace(
        parts,
        **taken,
        origins={**parts.origins, **dict.fromkeys(taken, "user")},
        absent={name: said for name, said in parts.absent.items() if name not in taken},
        notes=(*parts.notes, *notes),
    )
