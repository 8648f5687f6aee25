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
from XVRegistrationLib.imaging.dicom.dataset import FLUOROSCOPY, quiet

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
    """(N,) values for stored values from `first` on; those outside of it get its first or last. None: a rescale."""
    first: int
    mirror: float | None
    """Where values are turned around: the sum of the lowest and the highest that can be stored. None where they are not."""

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """(H, W) grey values of a frame (H, W) of stored values; integers stay integers where they can."""
        if self.table is not None:
            found = self.table[np.clip(stored.astype(np.int64) - self.first, 0, len(self.table) - 1)]
        elif self.slope == 1 and self.intercept == 0:
            found = stored
        else:
            found = stored * self.slope + self.intercept
        if self.mirror is None:
            return np.asarray(found)
        if found.dtype.kind == "f":
            return np.asarray(self.mirror - found)
        # Inverting twice changes nothing, and the result fits: it lies between the lowest and the highest again.
        return np.asarray(found.dtype.type(int(self.mirror)) - found)


def grey_scale(dataset: Dataset, path: Path) -> GreyScale:
    """What the elements of a plain data set (see dataset.plain) say of its grey values; InputError for a bad table.

    PixelIntensityRelationship and its sign describe the stored values and win over the photometric interpretation, which
    is only about display. XA and RF have no sign: there the relationship is a direct one, and the modality look-up table
    of a LOG image makes it linear (PS3.3, A.16.3), as does the TO_LINEAR table of an Enhanced image (C.7.6.16.2.13).
    Without a relationship the image is one for display, where dense is dark in XA and RF and bright in DX and CR.
    """
    relationship = str(dataset.get("PixelIntensityRelationship") or "").upper()
    fluoroscopy = dataset.get("SOPClassUID") in FLUOROSCOPY
    try:
        with quiet():
            to_linear = _to_linear(dataset)
            item = to_linear or _first(dataset, "ModalityLUTSequence")
            table, first = (None, 0) if item is None else _table(item, dataset)
            slope, intercept = (
                float(_number(dataset.get(f"Rescale{n}"), d)) for n, d in (("Slope", 1), ("Intercept", 0))
            )
            falling_window = _falls(_first(dataset, "VOILUTSequence"), dataset)
    except Exception as e:
        raise InputError(f"The look-up table or rescale of {path} cannot be read: {' '.join(str(e).split())}") from e
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
    try:
        # The value has the pixels' type, but is often written as if it had the other sign: its bits are what counts.
        values = [int(end) for end in ends if end not in (None, "")]
        wrapped = np.array([v & (2 ** (8 * stored.dtype.itemsize) - 1) for v in values], dtype=np.uint64)
    except (TypeError, ValueError):
        return None
    ends_of = wrapped.astype(stored.dtype)
    found = (stored >= ends_of.min()) & (stored <= ends_of.max())
    return found if found.any() else None


def _to_linear(dataset: Dataset) -> Dataset | None:
    for item in dataset.get("PixelIntensityRelationshipLUTSequence") or ():
        if str(item.get("LUTFunction") or "").upper() == "TO_LINEAR":
            return item
    return None


def _first(dataset: Dataset, name: str) -> Dataset | None:
    items = dataset.get(name) or ()
    return items[0] if len(items) else None


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
        values = np.frombuffer(data, dtype="<u1" if bits <= 8 and len(data) < 2 * count else "<u2")
    else:
        values = np.atleast_1d(np.asarray(data)).astype(np.uint16)
    if len(values) < count:
        raise ValueError(f"LUTData (0028,3006) holds {len(values)} values and not {count}.")
    return values[:count], first


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
