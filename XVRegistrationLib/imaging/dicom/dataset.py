"""A DICOM file's data set, checked to be an X-ray, and the numbers in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

CR = "1.2.840.10008.5.1.4.1.1.1"
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
RF = "1.2.840.10008.5.1.4.1.1.12.2"
ENHANCED = ("1.2.840.10008.5.1.4.1.1.12.1.1", "1.2.840.10008.5.1.4.1.1.12.2.1")
PROJECTION_CLASSES = (CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING, XA, RF)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read_dataset(path: Path) -> FileDataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        what = "is a folder; give the file of one X-ray" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.")
    try:
        return pydicom.dcmread(path)
    except InvalidDicomError as e:
        raise InputError(f"{path} is not a DICOM file.") from e
    # A damaged file may fail anywhere in the parser; whatever it is, the file is at fault and not the program.
    except Exception as e:
        raise InputError(f"{path} cannot be read as DICOM: {e}") from e


def check_image(dataset: Dataset, path: Path) -> None:
    """Raise InputError unless this is one frame of grey values of a projection X-ray."""
    sop_class = dataset.get("SOPClassUID")
    if sop_class is None:
        raise InputError(f"{path} has no SOPClassUID (0008,0016), so that it is not known what it holds.")
    if "PixelData" not in dataset:
        raise InputError(f"{path} holds no image ({sop_class.name}); give a DX, CR, XA or RF image.")
    if sop_class in ENHANCED:
        raise InputError(
            f"{path} is an {sop_class.name} object, which is not read; export it as a plain XA or RF image."
        )
    if sop_class not in (*PROJECTION_CLASSES, SECONDARY_CAPTURE):
        raise InputError(f"{path} is not a projection X-ray but {sop_class.name}; give a DX, CR, XA or RF image.")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{path} is a colour image; an X-ray of grey values (SamplesPerPixel 1) is needed.")


def positive(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` positive numbers of an element, or None if it is absent, empty, zero or malformed."""
    values = numbers(dataset, keyword, count)
    return values if values is not None and min(values) > 0 else None


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of an element, or None if it is absent, empty or malformed."""
    try:
        values = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (TypeError, ValueError):
        return None
    if values.shape != (count,) or not np.isfinite(values).all():
        return None
    return tuple(float(v) for v in values)
