"""A DICOM file's data set, checked to be an X-ray, and the numbers in it."""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.damaged import guarded
from XVRegistrationLib.imaging.dicom.enhanced import has_functional_groups, with_functional_groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

CR = "1.2.840.10008.5.1.4.1.1.1"
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
RF = "1.2.840.10008.5.1.4.1.1.12.2"
ENHANCED = ("1.2.840.10008.5.1.4.1.1.12.1.1", "1.2.840.10008.5.1.4.1.1.12.2.1")
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
FLUOROSCOPY = (XA, RF, *ENHANCED)
PROJECTION_CLASSES = (CR, DX_FOR_PRESENTATION, DX_FOR_PROCESSING, *FLUOROSCOPY, RT_IMAGE)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SECONDARY_CAPTURES = (SECONDARY_CAPTURE, *(f"{SECONDARY_CAPTURE}.{n}" for n in (2, 3, 4)))
"""Of one frame; and of several, with grey values of a byte, of a word, and in colours."""

XRAY_MODALITIES = ("CR", "DX", "RG", "XA", "RF", "RTIMAGE", "OT", "")
"""What a secondary capture may call itself: an X-ray, or anything."""

_MOST_PIXELS = 2**28
"""Of one frame: a detector of 43 cm has fewer at 30 micrometres; a header that says more is damaged."""

_MOST_FRAMES = 10**5
"""Of a run: an hour at 30 frames a second."""

_FILTERS = threading.RLock()
"""For the filters of warnings, which belong to the whole process."""

_RT_NAMES = {
    "DistanceSourceToDetector": "RTImageSID",
    "DistanceSourceToPatient": "RadiationMachineSAD",
    "ImagerPixelSpacing": "ImagePlanePixelSpacing",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's warnings back, also out of logs: they quote elements of the file, which may be the patient's name."""
    log = logging.getLogger("pydicom")

    def none(_: logging.LogRecord) -> bool:
        return False

    log.addFilter(none)
    try:
        # One thread at a time: each puts back the filters that it found, which must not be those of another.
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeFilter(none)


@contextmanager
def understanding(path: Path) -> Iterator[None]:
    """Raises InputError for whatever pydicom raises where an element is looked at: only then does it take it apart."""
    with quiet(), guarded(path):
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file that can be read begins as DICOM files do (PS3.10, 7.1)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dataset(path: Path) -> FileDataset:
    """The data set of a file up to its pixels, which frames.decoded reads; InputError unless it is DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        what = "is a folder; give the file of one X-ray" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.")
    with understanding(path):
        try:
            return pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError as e:
            raise InputError(f"{path} is not a DICOM file.") from e


def check_image(dataset: Dataset, path: Path) -> None:
    """Raise InputError unless this holds grey values of a projection X-ray.

    A secondary capture (PS3.3, A.8) says nothing of how it was taken. It counts as an X-ray where its Modality names one, or
    nothing in particular; not where it is a scanned document, or a capture of a CT, say.
    """
    sop_class = dataset.get("SOPClassUID")
    if not isinstance(sop_class, str) or not sop_class:
        raise InputError(f"{path} has no SOPClassUID (0008,0016), so that it is not known what it holds.")
    if positive(dataset, "Rows", 1) is None or positive(dataset, "Columns", 1) is None:
        raise InputError(f"{path} holds no image ({_named(sop_class)}); give a DX, CR, XA or RF image.")
    if sop_class in SECONDARY_CAPTURES:
        _check_capture(dataset, path)
    elif sop_class not in PROJECTION_CLASSES:
        raise InputError(f"{path} is not a projection X-ray but {_named(sop_class)}; give a DX, CR, XA or RF image.")
    elif int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{path} is a colour image; an X-ray of grey values (SamplesPerPixel 1) is needed.")
    if int(dataset.Rows) * int(dataset.Columns) > _MOST_PIXELS:
        raise InputError(
            f"{path} states an image of {dataset.Columns} x {dataset.Rows} pixels (Columns (0028,0011), Rows (0028,0010)), "
            "more than any detector has: it is damaged."
        )


def _named(sop_class: str) -> str:
    return " ".join(str(getattr(sop_class, "name", sop_class)).split())


def _check_capture(dataset: Dataset, path: Path) -> None:
    modality = str(dataset.get("Modality") or "").upper()
    if modality not in XRAY_MODALITIES:
        raise InputError(
            f"{path} is a secondary capture of Modality (0008,0060) {modality} and not of an X-ray; give a DX, CR, XA or RF "
            "image."
        )
    if str(dataset.get("ConversionType") or "").upper() == "SD":
        raise InputError(f"{path} is a scanned document (ConversionType (0008,0064) SD) and not an X-ray.")
    if str(dataset.get("PhotometricInterpretation") or "").upper() == "PALETTE COLOR":
        raise InputError(f"{path} is a colour image (PALETTE COLOR); an X-ray of grey values is needed.")


def number_of_frames(dataset: Dataset, path: Path) -> int:
    """How many frames a file states to hold, 1 where it says nothing; InputError for what is no number of frames."""
    if dataset.get("NumberOfFrames") in (None, ""):
        return 1
    count = positive(dataset, "NumberOfFrames", 1)
    if count is None or count[0] != int(count[0]) or count[0] > _MOST_FRAMES:
        raise InputError(
            f"NumberOfFrames (0028,0008) of {path} is not a whole number from 1 to {_MOST_FRAMES}: the file is damaged."
        )
    return int(count[0])


def plain(dataset: Dataset, frame: int | None = None) -> Dataset:
    """The data set as if it were of `frame` (from 0; None for the first) alone, in the words of a plain XA image.

    Functional groups of an Enhanced object (PS3.3, C.7.6.16) are brought to the top level, what all frames share and then
    what is that frame's; the angles of a C-arm that moved during a plain run are that frame's; an RT image's distances and
    spacing get their names of XA. Other objects are returned as they are. The pixels are not in it.
    """
    from pydicom.dataset import Dataset

    if has_functional_groups(dataset):
        return with_functional_groups(dataset, frame or 0)
    changes: dict[str, object] = {}
    if dataset.get("SOPClassUID") == RT_IMAGE:
        changes = {name: dataset.get(rt) for name, rt in _RT_NAMES.items() if dataset.get(rt) not in (None, "")}
    elif dataset.get("SOPClassUID") in SECONDARY_CAPTURES[1:]:
        changes = {"SOPClassUID": SECONDARY_CAPTURE}
    else:
        for name in ("PositionerPrimaryAngle", "PositionerSecondaryAngle"):
            angle = _moved(dataset, name, frame or 0)
            if angle is not None:
                changes[name] = f"{angle:.6g}"
    if not changes:
        return dataset
    copy = Dataset()
    copy.update(dataset)
    for name, value in changes.items():
        if name in copy:
            del copy[name]  # its element is the original's, and would be changed there
        setattr(copy, name, value)
    return copy


def _moved(dataset: Dataset, name: str, frame: int) -> float | None:
    """An angle, degrees, in one frame of a run during which the C-arm moved, or None where it did not (PS3.3, C.8.7.5.1.3).

    One increment is that from each frame to the next; several are offsets of each frame from the angle of the first.
    """
    increments, first = dataset.get(f"{name}Increment"), numbers(dataset, name, 1)
    if increments in (None, "") or first is None:
        return None
    count = int(np.size(increments))
    offsets = numbers(dataset, f"{name}Increment", count)
    if offsets is None or not any(offsets):
        return None
    if count == 1:
        return first[0] + frame * offsets[0]
    return first[0] + offsets[frame] if frame < count else None


def positive(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` positive numbers of an element, or None if it is absent, empty, zero or malformed."""
    values = numbers(dataset, keyword, count)
    return values if values is not None and min(values) > 0 else None


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of an element, or None if it is absent, empty or malformed."""
    try:
        values = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        return None
    if values.shape != (count,) or not np.isfinite(values).all():
        return None
    return tuple(float(v) for v in values)
