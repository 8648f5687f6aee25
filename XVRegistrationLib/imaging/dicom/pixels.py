"""Grey values of a DICOM X-ray, and what they mean.

What is compared is what the detector measured. So the modality transform is applied, and of the VOI transform (window or
table) only its direction is used: a window clips, and both are there for the eye. PS3.3, C.8.11.3.1.2 says so for DX, where
PixelIntensityRelationship is about the stored values and the VOI and presentation tables are for display alone, and so does
PS3.17, FFF.2.3.1.3 for XA. It also holds for images that were made for display (relationship DISP, DRM, OTHER or absent; DX
For Presentation): how dense they show is known only in order, and no window tells more than the values before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import FLUOROSCOPY, SECONDARY_CAPTURES, quiet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.xray import Scale


@dataclass(frozen=True, eq=False)
class GreyScale:
    """How stored values become grey values, the same for all frames of a run that share its elements."""

    scale: Scale
    stated: bool
    """Whether a tag says what bright pixels mean."""
    slope: float
    intercept: float
    table: NDArray[Any] | None
    """(N,) values for stored values from `first` on; lower and higher ones get its first and last. None: a rescale."""
    first: int
    mirror: float | None
    """Where values are turned around: the sum of the lowest and the highest that can be stored. None where they are not."""

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """(H, W) grey values of a frame (H, W) of stored values; integers stay integers where they can."""
        if self.table is not None:
            found = self._looked_up(stored, self.table)
        elif self.slope == 1 and self.intercept == 0:
            found = stored
        else:
            found = stored * self.slope + self.intercept
        if self.mirror is None:
            return np.asarray(found)
        if found.dtype.kind == "f":
            return np.asarray(self.mirror - found)
        # The result lies between the lowest and the highest again; their sum need not fit, but wraps, and wraps back.
        return np.asarray(np.array(int(self.mirror)).astype(found.dtype) - found)

    def _looked_up(self, stored: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
        if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
            return table[np.clip(stored.astype(np.int64) - self.first, 0, len(table) - 1)]
        # Every value that the type can hold, in the order of its bits, is looked up once instead of every pixel.
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        every = np.arange(2 ** (8 * stored.dtype.itemsize)).astype(unsigned).view(stored.dtype)
        complete = table[np.clip(every.astype(np.int64) - self.first, 0, len(table) - 1)]
        return np.take(complete, stored.view(unsigned))


def grey_scale(dataset: Dataset, path: Path) -> GreyScale:
    """What the elements of a plain data set (see dataset.plain) say of its grey values; InputError for a bad table.

    PixelIntensityRelationship and its sign describe the stored values and win over the photometric interpretation, which
    is only about display. XA and RF have no sign: there the relationship is a direct one, and the modality look-up table
    of a LOG image makes it linear (PS3.3, A.16.3), as does the TO_LINEAR table of an Enhanced image (C.7.6.16.2.13).
    Without a relationship the image is one for display, where dense is dark in XA and RF and bright in DX and CR.
    """
    relationship = str(dataset.get("PixelIntensityRelationship") or "").upper()
    fluoroscopy = dataset.get("SOPClassUID") in FLUOROSCOPY or (
        dataset.get("SOPClassUID") in SECONDARY_CAPTURES and dataset.get("Modality") in ("XA", "RF")
    )
    try:
        with quiet():
            to_linear = _to_linear(dataset)
            item = to_linear or _first(dataset, "ModalityLUTSequence")
            table, first = (None, 0) if item is None else _table(item, dataset)
            slope, intercept = (
                float(_number(dataset.get(f"Rescale{n}"), d)) for n, d in (("Slope", 1), ("Intercept", 0))
            )
            falling_window = _falls(_first(dataset, "VOILUTSequence"), dataset)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except Exception as e:  # a value that is no number is not quoted
        raise InputError(f"The look-up table or rescale of {path} cannot be read: a value in it is damaged.") from e
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise InputError(f"RescaleSlope (0028,1053) or RescaleIntercept (0028,1052) of {path} is no usable number.")
    sign = dataset.get("PixelIntensityRelationshipSign")
    stated = to_linear is not None or (relationship in ("LIN", "LOG") and (sign in (1, -1) or fluoroscopy))
    falls = bool(table[-1] < table[0]) if table is not None else slope < 0
    if to_linear is not None:
        rises_with_intensity = linear = True
    elif stated:
        linear = relationship == "LIN" or (fluoroscopy and table is not None)
        # The sign is about stored values, before the modality transform; a table that makes them linear has it in itself.
        rises_with_intensity = (linear and relationship == "LOG") or (sign != -1) != falls
    else:
        shown_inverted = (
            str(dataset.get("PhotometricInterpretation") or "").upper() == "MONOCHROME1"
        ) != falling_window
        rises_with_intensity = (sign == 1) != falls if sign in (1, -1) else fluoroscopy != shown_inverted
        linear = relationship == "LIN"
    turned = linear != rises_with_intensity
    return GreyScale(
        scale="intensity" if linear else "attenuation",
        stated=stated,
        slope=slope,
        intercept=intercept,
        table=table,
        first=first,
        mirror=_mirror(dataset, slope, intercept, table) if turned else None,
    )


def padded(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(H, W) which stored values are padding (PixelPaddingValue, PixelPaddingRangeLimit), None where none are."""
    ends = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] in (None, "") or stored.dtype.kind not in "iu":
        return None
    # The value has the pixels' type, but is often written as if it had the other sign: its bits are what counts.
    bits = 2 ** (8 * stored.dtype.itemsize) - 1
    try:
        wrapped = [int(end) & bits for end in ends if end not in (None, "")]
    except (TypeError, ValueError):
        return None
    limits = np.array(wrapped, dtype=f"u{stored.dtype.itemsize}").view(stored.dtype)
    found = (stored >= limits.min()) & (stored <= limits.max())
    return np.asarray(found) if found.any() else None


def _to_linear(dataset: Dataset) -> Dataset | None:
    for item in dataset.get("PixelIntensityRelationshipLUTSequence") or ():
        if str(item.get("LUTFunction") or "").upper() == "TO_LINEAR":
            return item
    return None


def _first(dataset: Dataset, name: str) -> Dataset | None:
    items = list(dataset.get(name) or [])
    return items[0] if items else None


def _number(value: Any, otherwise: float) -> Any:
    return otherwise if value in (None, "") else value


def _table(item: Dataset, dataset: Dataset) -> tuple[NDArray[Any], int]:
    """Values of a look-up table and the stored value of the first (PS3.3, C.11.1.1)."""
    count, first, bits = (int(v) for v in item.LUTDescriptor)
    count = count or 2**16  # which does not fit into the element
    if int(dataset.get("PixelRepresentation") or 0) and first > 2**15 - 1:
        first -= 2**16  # read as if it were unsigned
    data = item.LUTData
    if isinstance(data, bytes):
        wide = ">u2" if _was_big_endian(item) else "<u2"
        values = np.frombuffer(data, dtype="u1" if bits <= 8 and len(data) < 2 * count else wide)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    else:
        values = np.atleast_1d(np.asarray(data)).astype(np.uint16)
    if len(values) < count:
        raise InputError(f"LUTData (0028,3006) holds {len(values)} values and not {count}.")
    return values[:count], first


def _was_big_endian(item: Dataset) -> bool:
    encoding = getattr(item, "original_encoding", None)  # since pydicom 3
    return (item.read_little_endian if encoding is None else encoding[1]) is False


def _falls(item: Dataset | None, dataset: Dataset) -> bool:
    if item is None:
        return False
    values, _ = _table(item, dataset)
    return bool(values[-1] < values[0])


def _mirror(dataset: Dataset, slope: float, intercept: float, table: NDArray[Any] | None) -> float:
    """Lowest plus highest grey value that can be stored."""
    if table is not None:
        return float(table.min()) + float(table.max())
    bits = int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 16)
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    ends = -1 if signed else 2**bits - 1
    return slope * ends + 2 * intercept
