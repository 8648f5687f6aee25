"""DICOM X-rays: reading single-frame DX, CR, XA and RF images with their geometry."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import SECONDARY_CAPTURE, check_image, numbers, positive, read_dataset
from XVRegistrationLib.imaging.dicom.geometry import angles, distance, pixel_spacing
from XVRegistrationLib.imaging.dicom.pixels import grey_scale, modality_values
from XVRegistrationLib.imaging.partial import PartialXray, mirrored_origin

if TYPE_CHECKING:
    import os

    from XVRegistrationLib.imaging.xray import Xray

_GIVE = {
    "sdd": "the distance source-detector in mm with --sid",
    "spacing": "the pixel spacing on the detector in mm with --spacing",
}


def read_dicom_xray(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool = False,
) -> Xray:
    """X-ray of a single-frame DX, CR, XA or RF file, with its geometry in mm.

    `sid` (mm) and `spacing` (mm, or mm along columns and rows) take precedence over the header. A secondary capture says
    nothing reliable about its geometry and needs both. Raises InputError, which names the field that is missing.
    """
    return whole(read_dicom_parts(path, sid=sid, spacing=spacing, mirrored=mirrored), path)


def whole(parts: PartialXray, path: str | os.PathLike[str]) -> Xray:
    """The X-ray of a DICOM file's parts; raises InputError, which names the field that is missing."""
    if parts.missing:
        advice = [_GIVE[name] for name in parts.missing]
        raise InputError(f"{path} does not state {' and '.join(parts.absent.values())}; give {' and '.join(advice)}.")
    return parts.complete()


def read_dicom_parts(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    frame: int | str | None = None,
) -> PartialXray:
    """What a DX, CR, XA or RF file states of an X-ray, in mm and degrees; what it lacks is left open."""
    run = read_dicom_run(path, sid=sid, spacing=spacing, mirrored=mirrored)
    if len(run) == 1 and frame is None:
        return run[0]
    if frame is None:
        raise InputError(f"{path} holds {len(run)} frames; give one of them, from 0, or min, max or mean.")
    if isinstance(frame, int):
        if not 0 <= frame < len(run):
            raise InputError(f"{path} has no frame {frame}: it holds {len(run)}, counted from 0.")
        return run[frame]
    pixels = np.stack([part.pixels for part in run])
    return dataclasses.replace(run[0], pixels=getattr(np, frame)(pixels, axis=0), frame=None)


def read_dicom_run(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
) -> list[PartialXray]:
    """What a DX, CR, XA or RF file states of each of its frames."""
    path = Path(path)
    dataset = read_dataset(path)
    check_image(dataset, path)
    values = modality_values(dataset, path)
    sdd, distance_origin = distance(dataset, sid)
    on_detector, spacing_origin = pixel_spacing(dataset, spacing)
    pixels, scale, scale_origin = grey_scale(dataset, values)
    primary, secondary = angles(dataset)
    sod = None if dataset.SOPClassUID == SECONDARY_CAPTURE else positive(dataset, "DistanceSourceToPatient", 1)
    origins = {
        "sdd": distance_origin,
        "spacing": spacing_origin,
        "principal_point": "assumed",
        "size": "tag",
        "mirrored": mirrored_origin(mirrored),
        "scale": scale_origin,
        "primary_angle": "tag",
        "secondary_angle": "tag",
        "sod": "tag",
    }
    optional = {"primary_angle": primary, "secondary_angle": secondary, "sod": None if sod is None else sod[0]}
    needed = {"sdd": sdd, "spacing": on_detector}
    unknown = {name for name, value in {**optional, **needed}.items() if value is None}
    parts = PartialXray(
        name=path.stem,
        pixels=pixels if pixels.ndim == 2 else pixels[0],
        scale=scale,
        path=str(path.resolve()),
        mirrored=primary is not None if mirrored is None else mirrored,
        sdd=sdd,
        spacing=on_detector,
        primary_angle=optional["primary_angle"],
        secondary_angle=optional["secondary_angle"],
        sod=optional["sod"],
        origins={name: origin for name, origin in origins.items() if name not in unknown},
        absent={name: origins[name] for name in needed if name in unknown},
    )
    if pixels.ndim == 2:
        return [parts]
    count = len(pixels)
    steps = numbers(dataset, "PositionerPrimaryAngleIncrement", count) or (0.0,) * count
    return [
        dataclasses.replace(
            parts,
            pixels=pixels[i],
            frame=i,
            frames=count,
            primary_angle=None if parts.primary_angle is None else parts.primary_angle + steps[i],
        )
        for i in range(count)
    ]
