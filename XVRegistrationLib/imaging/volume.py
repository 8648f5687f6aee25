"""Volumes and label maps on a regular grid with their own IJK-to-RAS matrix."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError, check_names
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.describe import describe
from XVRegistrationLib.imaging.dicom.dataset import understanding
from XVRegistrationLib.imaging.volumes.densities import pseudo_ct
from XVRegistrationLib.imaging.volumes.hounsfield import checked_hounsfield
from XVRegistrationLib.imaging.volumes.pixels import AIR
from XVRegistrationLib.imaging.volumes.read import file_of, read_stored
from XVRegistrationLib.imaging.volumes.reading import Reading, Units
from XVRegistrationLib.imaging.volumes.vessels import checked_vessels

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volumes.stored import Stored

# Directions whose scalar products exceed this are sheared; a 512 voxel row would bend by a quarter of a voxel.
_SHEAR_TOLERANCE = 5e-4
_SMALLEST_VOXEL, _LARGEST_VOXEL = 1e-3, 100.0  # mm: of micro-CT, and of nothing that is a picture


_MOST_LABELS = 1000  # an atlas of the brain has some hundreds


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
    reading: Reading | None = None
    """How its file was read; None for a volume that was not read from one."""
    notes: tuple[str, ...] = ()
    """What was found and done when it was read, in plain sentences."""

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
        """Hash of the voxels, their layout and units, which tells a volume from others wherever it lies in space.

        What is thinner than air is air, so that a CT is the same with its padding and without it.
        """
        digest = hashlib.sha256()
        digest.update(str(self.array.shape).encode())
        if self.units != "HU":
            digest.update(self.units.encode())
        for plane in self.array:  # not the whole at once: that would be a copy of twice its size
            values = np.ascontiguousarray(plane, dtype="<f4")
            digest.update((np.maximum(values, np.float32(AIR)) if self.units == "HU" else values).data)
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

    @property
    def layers(self) -> tuple[NDArray[Any], ...]:
        """The one image, as `Segmentation` has several."""
        return (self.array,)

    def values(self, names: list[str]) -> list[int]:
        """Label values of structures by name, in the order given; InputError for a name that is not there."""
        by_name = {name: value for value, name in self.names.items()}
        check_names(names, by_name, "The label map has no structure named")
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


def read_volume(path: str | os.PathLike[str], reading: Reading | None = None) -> Volume:
    """Read a volume from NIfTI, NRRD, MetaImage, a folder of DICOM files (`FOLDER#N` for series N), or one file of a series.

    `reading` says what the values are; without it they are Hounsfield units. Padding becomes air, a tilted gantry and
    uneven slices are resampled, and `notes` say so. Raises InputError for what cannot be read, for values that cannot be
    what they are said to be, for missing slices, and for a folder that leaves a choice of series.
    """
    with understanding(Path(path)):
        return understood(read_stored(path, None if reading is None else reading.series), path, reading)


def understood(stored: Stored, path: str | os.PathLike[str], reading: Reading | None = None) -> Volume:
    """The volume that the voxels of a file are by `reading`, as `read_volume` does it; their array may be changed in place."""
    reading = reading or Reading()
    array, notes, units = stored.array, list(stored.notes), reading.units
    if reading.background is not None:
        array = with_air(array, reading.background, reading.units)
    stored = dataclasses.replace(stored, array=array)
    check_grid(array.shape, stored.ijk_to_ras, str(path))
    _check_size(stored.ijk_to_ras, path)
    if reading.segmentation is not None:
        # What reads segmentations reads volumes too.
        from XVRegistrationLib.imaging.segmentation_files import read_segmentation

        structures = read_segmentation(reading.segmentation, dict(reading.label_names or ()))
        array, units = pseudo_ct(structures, array.shape, stored.ijk_to_ras, reading.densities), "HU"
        notes.append(f"Its densities are those of {len(structures.segments)} structures, not of its own values.")
    elif reading.vessels is not None:
        array, said = checked_vessels(array, reading.vessels, str(path))
        units = "1/mm"
        notes.append(said)
    elif units == "HU":
        array, found = checked_hounsfield(stored, str(path), reading.believed)
        notes += found
    else:
        _check_attenuation(Volume(array, stored.ijk_to_ras, units=units), path)
    segmentation = None if reading.segmentation is None else str(Path(reading.segmentation).resolve())
    kept = dataclasses.replace(reading, series=stored.series, segmentation=segmentation)
    place = file_of(path)
    return Volume(array, stored.ijk_to_ras, _stem(place), str(place.resolve()), units, kept, tuple(notes))


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

    Raises InputError as `read_volume` does, and for voxel values that are not whole numbers from 0.
    """
    stored = read_stored(path, labels=True)
    check_grid(stored.array.shape, stored.ijk_to_ras, str(path))
    labels = stored.array
    if labels.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # what is no number is found unequal
            labels = labels.astype(np.int32)
        if not np.array_equal(labels, stored.array):
            raise InputError(f"{path} is not a label map: it has voxel values that are not whole numbers.")
    found = [int(v) for v in np.unique(labels) if v != 0]
    lowest, highest = min(found, default=0), max(found, default=0)
    if lowest < 0 or highest >= 2**31:
        raise InputError(
            f"{path} is not a label map: it has values from {lowest} to {highest}, not from 0 to 2147483647."
        )
    if len(found) > _MOST_LABELS:
        raise InputError(f"{path} is not a label map: it has {len(found)} values, as an image has, and no structures.")
    names = names or {}
    small = labels.astype(np.int16 if highest < 2**15 else np.int32, copy=False)
    return LabelMap(small, stored.ijk_to_ras, {v: names.get(v, f"label {v}") for v in found})


def read_label_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read label names from JSON ({"1": "spleen"}) or CSV with the columns `id` and `structure` (or `name`)."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the table of label names (JSON or CSV).")
    try:
        # Spreadsheets write a mark of the byte order first.
        if path.suffix.lower() == ".json":
            return {int(k): str(v) for k, v in json.loads(path.read_text("utf-8-sig")).items()}
        with path.open(encoding="utf-8-sig", newline="") as f:
            return {int(row["id"]): row.get("structure") or row["name"] for row in csv.DictReader(f)}
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise InputError(f"{path} is not a table of label names: columns `id` and `structure` are needed ({e}).") from e


def _stem(path: str | os.PathLike[str]) -> str:
    name = Path(path).name
    if Path(path).is_dir():
        return name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def _check_attenuation(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Raise InputError for values that are said to be linear attenuation and cannot be."""
    found = describe(volume)
    if not found.ok:
        raise InputError(f"{path} holds no linear attenuation in 1/mm: {found.sentence}")


def _check_size(ijk_to_ras: NDArray[np.float64], path: str | os.PathLike[str]) -> None:
    """Raise InputError for voxels that no scanner makes."""
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if not (spacing.min() >= _SMALLEST_VOXEL and spacing.max() <= _LARGEST_VOXEL):
        said = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(f"{path} has voxels of {said} mm; correct the spacing in its header.")


def with_air(array: NDArray[Any], background: float, units: Units = "HU") -> NDArray[Any]:
    """Voxels with air wherever they have the value for "not scanned"; the array itself is changed where its type can hold that."""
    array = array.astype(np.result_type(array.dtype, np.int16), copy=False)
    array[array == background] = AIR if units == "HU" else 0
    return array
