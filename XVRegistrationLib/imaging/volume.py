"""Volumes and label maps on a regular grid with their own IJK-to-RAS matrix."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.damaged import reading

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

Units = Literal["HU", "1/mm"]
"""What voxel values are: Hounsfield units, or linear attenuation (of iodine alone, in a subtracted angiogram)."""

# Directions whose scalar products exceed this are sheared; a 512 voxel row would bend by a quarter of a voxel.
_SHEAR_TOLERANCE = 5e-4
# Slices may sit this far from a regular stack, as a share of the slice distance.
_SPACING_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar volume: `array[k, j, i]` is the voxel whose centre lies at `ijk_to_ras @ (i, j, k, 1)`, mm."""

    array: NDArray[Any]
    """(K, J, I) voxel values in `units`."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4), mm."""
    name: str = "volume"
    path: str | None = None
    """File or folder it came from, if any."""
    units: Units = "HU"

    def __post_init__(self) -> None:
        check_grid(self.array.shape, self.ijk_to_ras, self.name)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel spacing (3,) along i, j, k, mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @property
    def center(self) -> NDArray[np.float64]:
        """Centre of the voxel grid (3,), RAS mm."""
        return transform_points(self.ijk_to_ras, (np.array(self.array.shape[::-1]) - 1) / 2)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the voxels, their layout and units, which tells a volume from others wherever it lies in space."""
        digest = hashlib.sha256()
        digest.update(str(self.array.shape).encode())
        if self.units != "HU":
            digest.update(self.units.encode())
        digest.update(np.ascontiguousarray(self.array, dtype="<f4").tobytes())
        return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer labels on a voxel grid; 0 is background."""

    array: NDArray[Any]
    """(K, J, I) integers."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4), mm."""
    names: dict[int, str] = field(default_factory=dict)
    """Label value -> structure name."""

    def __post_init__(self) -> None:
        check_grid(self.array.shape, self.ijk_to_ras, "label map")

    def values(self, names: list[str]) -> list[int]:
        """Label values of structures by name, in the order given; InputError for a name that is not there."""
        by_name = {name: value for value, name in self.names.items()}
        missing = [name for name in names if name not in by_name]
        if missing:
            raise InputError(f"The label map has no structure named {', '.join(missing)}.")
        return [by_name[name] for name in names]

    def points(self, values: list[int]) -> NDArray[np.float64]:
        """Centres (N, 3) of the voxels with any of these labels, RAS mm."""
        kji = np.argwhere(np.isin(self.array, values))
        return transform_points(self.ijk_to_ras, kji[:, ::-1])


def check_grid(shape: tuple[int, ...], ijk_to_ras: NDArray[np.float64], what: str) -> None:
    """Raise InputError unless the grid is three-dimensional, regular and without shear."""
    if len(shape) != 3:
        raise InputError(f"{what} has {len(shape)} dimensions; a three-dimensional scalar volume is needed.")
    if min(shape) < 2:
        raise InputError(f"{what} has only one slice (size {shape[::-1]}); a volume with at least two is needed.")
    matrix = np.asarray(ijk_to_ras, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{what} has no valid 4x4 IJK-to-RAS matrix.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if spacing.min() <= 0:
        raise InputError(f"{what} has a voxel spacing of zero; correct the spacing in its header.")
    directions = matrix[:3, :3] / spacing
    shear = np.abs(directions.T @ directions - np.eye(3)).max()
    if shear > _SHEAR_TOLERANCE:
        raise InputError(
            f"{what} has sheared axes (a tilted gantry, or a damaged header; cosine {shear:.4f} between axes); "
            "resample it to a rectangular grid first."
        )


def read_volume(path: str | os.PathLike[str], units: Units = "HU") -> Volume:
    """Read a volume from NIfTI, NRRD, MetaImage or a folder of DICOM slices; voxel values as stored, taken to be in `units`.

    Raises InputError for a missing or unreadable file, one slice only, shear, or irregular slice distances.
    """
    with reading(path):
        image, matrix = _read_image(path)
    return Volume(image, matrix, name=_stem(path), path=str(Path(path).resolve()), units=units)


def write_volume(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume as NRRD, NIfTI or MetaImage, by the suffix of `path`, whole or not at all; `read_volume` reads it."""
    import SimpleITK as sitk

    lps = lps_to_ras(volume.ijk_to_ras)
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array))
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        with replacing(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=False)
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"{path} cannot be written as a volume: {reason}") from e


def read_label_map(path: str | os.PathLike[str], names: dict[int, str] | None = None) -> LabelMap:
    """Read a label map; without `names`, structures are called by their number.

    Raises InputError as `read_volume` does, and for voxel values that are not whole numbers.
    """
    image, matrix = _read_image(path)
    labels = image.astype(np.int32)
    if not np.array_equal(labels, image):
        raise InputError(f"{path} is not a label map: it has voxel values that are not whole numbers.")
    found = [int(v) for v in np.unique(labels) if v != 0]
    names = names or {}
    small = np.int16 if not found or max(found) < 2**15 else np.int32
    return LabelMap(labels.astype(small), matrix, {v: names.get(v, f"label {v}") for v in found})


def read_label_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read label names from JSON ({"1": "spleen"}) or CSV with the columns `id` and `structure` (or `name`)."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the table of label names (JSON or CSV).")
    try:
        if path.suffix.lower() == ".json":
            return {int(k): str(v) for k, v in json.loads(path.read_text("utf-8")).items()}
        with path.open(encoding="utf-8", newline="") as f:
            return {int(row["id"]): row.get("structure") or row["name"] for row in csv.DictReader(f)}
    except (ValueError, KeyError, AttributeError) as e:
        raise InputError(f"{path} is not a table of label names: columns `id` and `structure` are needed ({e}).") from e


def _stem(path: str | os.PathLike[str]) -> str:
    name = Path(path).name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def _read_image(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    import SimpleITK as sitk

    path = Path(path)
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} does not exist.")
    reader = sitk.ImageSeriesReader() if path.is_dir() else sitk.ImageFileReader()
    if isinstance(reader, sitk.ImageSeriesReader):
        files = reader.GetGDCMSeriesFileNames(str(path))
        if not files:
            raise InputError(f"{path} holds no DICOM series that can be read as a volume.")
        _check_slice_positions(files, path)
        reader.SetFileNames(files)
    else:
        reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"{path} cannot be read as a volume: {reason}") from e
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel; a scalar volume is needed."
        )
    if image.GetDimension() != 3:
        raise InputError(f"{path} has {image.GetDimension()} dimensions; a three-dimensional volume is needed.")
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), lps_to_ras(lps)


def _check_slice_positions(files: tuple[str, ...], folder: Path) -> None:
    """ITK stacks slices at the mean distance; refuse what is not a regular stack along the slice normal."""
    import pydicom

    if len(files) < 2:
        raise InputError(f"{folder} holds a DICOM series of one slice; a volume with at least two is needed.")
    positions, normals = [], []
    for name in files:
        header = pydicom.dcmread(
            name, stop_before_pixels=True, specific_tags=["ImagePositionPatient", "ImageOrientationPatient"]
        )
        if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
            raise InputError(
                f"{name} has no ImagePositionPatient or ImageOrientationPatient; the slices cannot be placed."
            )
        orientation = np.array(header.ImageOrientationPatient, dtype=float)
        positions.append(np.array(header.ImagePositionPatient, dtype=float))
        normals.append(np.cross(orientation[:3], orientation[3:]))
    steps = np.diff(np.array(positions), axis=0)
    mean = steps.mean(axis=0)
    distance = np.linalg.norm(mean)
    worst = np.linalg.norm(steps - mean, axis=1).max()
    if distance == 0 or worst > _SPACING_TOLERANCE * distance + 0.01:
        raise InputError(
            f"{folder} has irregular slice distances (mean {distance:.2f} mm, off by up to {worst:.2f} mm); "
            "a slice may be missing. Resample it to regular slices first."
        )
    if np.linalg.norm(np.cross(mean / distance, normals[0])) > _SHEAR_TOLERANCE:
        raise InputError(
            f"{folder} was taken with a tilted gantry (sheared axes); resample it to a rectangular grid first."
        )
