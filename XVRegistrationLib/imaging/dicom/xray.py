"""DICOM X-rays: reading single-frame DX, CR, XA and RF images with their geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import check_image, read_dataset
from XVRegistrationLib.imaging.dicom.geometry import read_geometry
from XVRegistrationLib.imaging.dicom.pixels import grey_scale, modality_values
from XVRegistrationLib.imaging.partial import PartialXray

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
) -> PartialXray:
    """What a single-frame DX, CR, XA or RF file states of an X-ray, in mm and degrees; what it lacks is left open.

    With `mirrored` None an image of a C-arm that states its angle is taken as mirrored (see geometry.angles). Raises
    InputError for a file that holds no X-ray.
    """
    path = Path(path)
    dataset = read_dataset(path)
    check_image(dataset, path)
    values = modality_values(dataset, path)
    pixels, scale, scale_origin = grey_scale(dataset, values)
    geometry = read_geometry(dataset, sid=sid, spacing=spacing, mirrored=mirrored)
    return PartialXray(
        name=path.stem,
        pixels=pixels,
        scale=scale,
        path=str(path.resolve()),
        **geometry.values,
        origins={**geometry.origins, "size": "tag", "scale": scale_origin},
        absent=geometry.absent,
        notes=geometry.notes,
    )
