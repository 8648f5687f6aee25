"""Voxels of slices: native ones by NumPy, compressed ones by SimpleITK's decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.volumes.slices import Slice

AIR = -1000
"""HU; also what padding becomes."""
_NO_TISSUE = -500, 2**15  # HU; a tag for padding that names a value between them was written by mistake
_SMALL = (-(2**15), 2**15 - 1)


def read_voxels(slices: Sequence[Slice]) -> tuple[NDArray[Any], list[str]]:
    """(K, J, I) values after rescale, in the order of the slices, and what was done, in sentences.

    int16 where the values fit, else int32, and float32 for a slope that is not whole. Voxels with the value that a tag
    gives to what was not scanned become air. Raises InputError that names the file that cannot be decoded.
    """
    columns, rows = slices[0].size
    padded, ignored, opened = 0, False, _Opened()
    opened.stored(slices[0])  # before there is room for all: a damaged header may ask for any amount
    array = np.empty((len(slices), rows, columns), _type(slices))
    for k, s in enumerate(slices):
        stored = opened.stored(s)
        slope, intercept = s.rescale
        array[k] = stored  # whole numbers may wrap here, and wrap back by what is added: the result fits
        if slope != 1:
            array[k] *= array.dtype.type(slope)
        if intercept != 0:
            array[k] += array.dtype.type(intercept)
        if s.padding is not None:
            lowest, highest = sorted(slope * end + intercept for end in s.padding)
            if highest > _NO_TISSUE[0] and lowest < _NO_TISSUE[1]:
                ignored = True
                continue
            outside = (stored >= s.padding[0]) & (stored <= s.padding[1])
            if outside.any():
                padded += int(np.count_nonzero(outside))
                array[k][outside] = AIR
    notes = [f"Padding (PixelPaddingValue, {padded / array.size:.0%} of the voxels) was set to air."] if padded else []
    if ignored:
        notes.append("PixelPaddingValue (0028,0120) names a value of tissue and was not believed.")
    if array.dtype == np.int32 and _SMALL[0] <= int(array.min()) and int(array.max()) <= _SMALL[1]:
        array = array.astype(np.int16)
    return array, notes


def read_slice(s: Slice) -> NDArray[Any]:
    """(J, I) stored values of one slice."""
    return _Opened().stored(s)


class _Opened:
    """Stored values of slices, with the last multi-frame object kept, so that it is decoded once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._frames: NDArray[Any] = np.zeros((0, 0, 0))

    def stored(self, s: Slice) -> NDArray[Any]:
        try:
            if s.frame is None:
                native = None if s.pixels_at is None else _native(s, s.pixels_at)
                if native is not None:
                    return native
                return _decode(s.path).reshape(s.size[::-1])
            if self._path != s.path:
                frames = _decode(s.path)
                self._path, self._frames = s.path, frames.reshape(-1, *s.size[::-1])
            return self._frames[s.frame]
        except InputError:
            raise
        except Exception as e:  # a damaged file may fail anywhere in a parser or decoder
            raise InputError(f"The pixels of {s.path} cannot be decoded: {' '.join(str(e).split())}") from e


def _native(s: Slice, position: int) -> NDArray[Any] | None:
    """Stored values (J, I) straight from the file, which is not parsed again; None where they are not where expected."""
    columns, rows = s.size
    with s.path.open("rb") as file:
        file.seek(position)
        head = file.read(12)
        # Tag, and length after the value representation where that is explicit (PS3.5, 7.1).
        skip, length = (12, head[8:]) if head[4:6] in (b"OW", b"OB") else (8, head[4:8])
        if head[:4] != b"\xe0\x7f\x10\x00" or int.from_bytes(length, "little") < 2 * columns * rows:
            return None
        file.seek(position + skip)
        values = np.fromfile(file, "<i2" if s.stored_range[0] < 0 else "<u2", columns * rows)
    bits = (s.stored_range[1] - s.stored_range[0]).bit_length()
    return _without_overlays(values, 16 - bits).reshape(rows, columns)


def _without_overlays(values: NDArray[Any], spare: int) -> NDArray[Any]:
    """Above the stored bits may be overlays (PS3.5, 8.1.2); shifting them out also extends the sign."""
    if not spare:
        return values
    shift = values.dtype.type(spare)
    return np.asarray((values << shift) >> shift)


def _decode(path: Path) -> NDArray[Any]:
    """All stored values of a file, in a row of frames."""
    import pydicom

    dataset = pydicom.dcmread(path)
    if "PixelData" not in dataset:
        raise InputError(f"{path} holds no pixels (7FE0,0010).")
    if dataset.file_meta.TransferSyntaxUID.is_compressed or not _is_plain(dataset):
        return _decode_by_itk(path, dataset)
    bits, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    values = np.frombuffer(dataset.PixelData, f"{order}{kind}{bits // 8}", count=count)
    return _without_overlays(values, bits - stored)


def _is_plain(dataset: Dataset) -> bool:
    return int(dataset.BitsAllocated) in (8, 16, 32) and int(dataset.HighBit) == int(dataset.BitsStored) - 1


def _decode_by_itk(path: Path, dataset: Dataset) -> NDArray[Any]:
    """Decoded by SimpleITK, which has decoders of all compressions but applies the rescale, which is undone."""
    import SimpleITK as sitk

    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as e:
        raise InputError(f"The pixels of {path} cannot be decoded: {str(e).strip().splitlines()[-1]}") from e
    slope, intercept = _rescale_of(dataset)
    if (slope, intercept) == (1.0, 0.0):
        return values.ravel()
    return np.rint((values.astype(np.float64) - intercept) / slope).astype(np.int32).ravel()


def _rescale_of(dataset: Dataset) -> tuple[float, float]:
    """What SimpleITK has applied: the rescale of the data set, or the first in the functional groups."""
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(dataset.get(sequence) or ())[:1]:
            for item in group.get("PixelValueTransformationSequence") or ():
                return float(item.RescaleSlope), float(item.RescaleIntercept)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return (1.0 if slope is None else float(slope) or 1.0), (0.0 if intercept is None else float(intercept))


def _type(slices: Sequence[Slice]) -> type[np.int16] | type[np.int32] | type[np.float32]:
    """The smallest type that holds all that the stored bits can become."""
    if any(value != int(value) for s in slices for value in s.rescale):
        return np.float32
    ends = [s.rescale[0] * end + s.rescale[1] for s in slices for end in s.stored_range]
    if min(ends) >= _SMALL[0] and max(ends) <= _SMALL[1]:
        return np.int16
    return np.int32 if max(map(abs, ends)) < 2**31 else np.float32
