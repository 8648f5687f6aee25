"""Reading an X-ray from any file: DICOM with its geometry, other images with the geometry that the user gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.damaged import reading
from XVRegistrationLib.imaging.dicom.xray import read_dicom_parts, whole
from XVRegistrationLib.imaging.partial import PartialXray, mirrored_origin, user_distance, user_spacing
from XVRegistrationLib.imaging.picture_meaning import with_recognised_meaning

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Scale, Xray

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Their headers state where pixels lie in mm. PNG, TIFF and JPEG at best state a resolution for printing.
_SPACED_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def read_xray(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool = False,
    scale: Scale | None = None,
) -> Xray:
    """X-ray of a DICOM, NIfTI, MetaImage, NRRD, PNG or TIFF file, with its geometry in mm.

    Only DICOM states the distance source-detector; for other files `sid` is needed, and `spacing` for pictures. `scale`
    says what bright pixels mean: without it DICOM's tags decide, and other files are taken as shown, dense being bright.
    Raises InputError, which says what is missing.
    """
    parts = read_xray_parts(path, sid=sid, spacing=spacing, mirrored=mirrored, scale=scale)
    if _is_dicom(Path(path)):
        return whole(parts, path)
    if parts.missing:
        options = ["--sid"] * ("sdd" in parts.missing) + ["--spacing"] * ("spacing" in parts.missing)
        raise InputError(
            f"{path} does not state {' and '.join(parts.absent.values())}; give it in mm with {' and '.join(options)}, or use the DICOM file."
        )
    return parts.complete()


def read_xray_parts(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    scale: Scale | None = None,
) -> PartialXray:
    """What a file states of an X-ray, for the same files and options as `read_xray`; what it lacks is left open.

    With `mirrored` None an image of a C-arm that states its angle is taken as mirrored, others as not.
    """
    path = Path(path)
    with reading(path):
        parts = _read_parts(path, sid=sid, spacing=spacing, mirrored=mirrored, scale=scale)
        # DICOM at least says how an image is to be shown; a picture says nothing, and is asked itself.
        return parts if _is_dicom(path) else with_recognised_meaning(parts)


def _read_parts(
    path: Path,
    *,
    sid: float | None,
    spacing: float | tuple[float, float] | None,
    mirrored: bool | None,
    scale: Scale | None,
) -> PartialXray:
    """As `read_xray_parts`, with grey values as they are assumed to be where the file does not say it."""
    if _is_dicom(path):
        parts = read_dicom_parts(path, sid=sid, spacing=spacing, mirrored=mirrored)
        if scale is None:
            return parts
        return dataclasses.replace(parts, scale=scale, origins={**parts.origins, "scale": "user"})
    suffix = _suffix(path)
    pixels, file_spacing = _read_image(path, suffix)
    distance = None if sid is None else user_distance(sid)
    used = user_spacing(spacing) if spacing is not None else file_spacing
    origins = {
        "sdd": "user",
        "spacing": "tag" if spacing is None else "user",
        "principal_point": "assumed",
        "size": "tag",
        "mirrored": mirrored_origin(mirrored),
        "scale": "assumed" if scale is None else "user",
    }
    absent = {"sdd": "the distance source-detector"} if distance is None else {}
    if used is None:
        absent["spacing"] = "the pixel spacing"
    return PartialXray(
        name=path.name[: len(path.name) - len(suffix)],
        pixels=pixels,
        scale=scale or "attenuation",
        path=str(path.resolve()),
        mirrored=bool(mirrored),
        sdd=distance,
        spacing=used,
        origins={name: origin for name, origin in origins.items() if name not in absent},
        absent=absent,
    )


def _is_dicom(path: Path) -> bool:
    suffix = _suffix(path)
    return suffix in _DICOM_SUFFIXES or (suffix not in _SPACED_SUFFIXES + _PICTURE_SUFFIXES and _has_dicom_magic(path))


def _suffix(path: Path) -> str:
    """The extension in lower case, with `.nii.gz` as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _has_dicom_magic(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            f.seek(128)
            return f.read(4) == b"DICM"
    except OSError:
        return False


def _read_image(path: Path, suffix: str) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Pixels (H, W) as stored and their spacing (dx, dy) in mm, None where the file does not state one."""
    import SimpleITK as sitk

    if not path.is_file():
        what = "is a folder; give the file of one X-ray" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as an image: it is damaged or of an unknown format.") from e
    array = sitk.GetArrayFromImage(image)
    if image.GetDimension() > 2:
        if any(n != 1 for n in image.GetSize()[2:]):
            raise InputError(
                f"{path} has several slices or frames (size {image.GetSize()}); give one two-dimensional X-ray."
            )
        array = array.reshape(array.shape[image.GetDimension() - 2 :])
    if image.GetNumberOfComponentsPerPixel() > 1:
        colours = array[..., :3]
        if not (colours == colours[..., :1]).all():
            raise InputError(f"{path} is a colour image; an X-ray of grey values is needed.")
        array = colours[..., 0]
    dx, dy = image.GetSpacing()[:2]
    # One millimetre both ways is what these formats report when nobody set a spacing.
    stated = suffix in _SPACED_SUFFIXES and not (np.isclose(dx, 1) and np.isclose(dy, 1)) and min(dx, dy) > 0
    return array, (float(dx), float(dy)) if stated else None
