"""NIfTI, NRRD and MetaImage files to voxels in space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.imaging.volumes.stored import Stored

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
"""Suffixes of formats whose spacing, if any, is for printing: 72 dots an inch would make voxels of 0.353 mm."""


def open_image(path: Path) -> Any:
    """SimpleITK's image of three dimensions; further ones of one entry are dropped. InputError where it cannot be read."""
    import SimpleITK as sitk

    if path.suffix.lower() in _PICTURES:
        raise InputError(
            f"{path} is a picture, which does not state how large and how far apart voxels are in mm; save the volume as "
            "NIfTI, NRRD or MetaImage with its spacing."
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError, OverflowError) as e:
        reason = (str(e).strip().splitlines() or ["too large"])[-1]
        if "ImageIO" in reason:  # none of its readers knows the file
            reason = "it is damaged or of an unknown format; give NIfTI, NRRD, MetaImage or DICOM."
        raise InputError(f"{path} cannot be read as a volume: {reason}") from e
    size = image.GetSize()
    if len(size) > 3 and set(size[3:]) == {1}:
        image = sitk.Extract(image, [*size[:3], *[0] * (len(size) - 3)], [0] * len(size))
    if image.GetDimension() != 3:
        raise InputError(f"{path} has {image.GetDimension()} dimensions; a three-dimensional volume is needed.")
    return image


def read_image(path: Path) -> Stored:
    """The voxels of a scalar image file as stored, float64 as float32; InputError for colours, time series and damage."""
    import SimpleITK as sitk

    image = open_image(path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel; a scalar volume is needed."
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"{path} holds complex numbers; a scalar volume is needed.")
    array = sitk.GetArrayFromImage(image)
    return Stored(array.astype(np.float32) if array.dtype == np.float64 else array, matrix_of(image))


def matrix_of(image: Any) -> NDArray[np.float64]:
    """IJK-to-RAS matrix (4, 4), mm, of SimpleITK's image."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return lps_to_ras(lps)
