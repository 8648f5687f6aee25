"""Digital subtraction: the line integral of contrast medium, from frames with it and frames without (PS3.3, C.7.6.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.xray import Scale

_FLOOR = 1e-3  # of the brightest intensity: less says "opaque", no more

_RANGE = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")
_LAST = 100_000  # no run is longer

Subtract = bool | tuple[int, ...]
"""Whether to subtract the mask frames that a file names, or which of its frames (from 0) are the mask of all others."""


@dataclass(frozen=True)
class Subtraction:
    """Which frames (from 0) are averaged and subtracted from which."""

    mask: tuple[int, ...]
    contrast: tuple[int, ...]
    shift: tuple[float, float] = (0.0, 0.0)
    """Of the mask before it is subtracted, px towards higher rows and columns."""


def subtraction_of(dataset: Dataset, frame: int, count: int, path: Path) -> Subtraction:
    """How `frame` (from 0) of `count` is to be subtracted, by its plain data set (see dataset.plain).

    Raises InputError where the file states no subtraction for that frame.
    """
    for item in dataset.get("MaskSubtractionSequence") or ():
        found = _by_item(item, dataset, frame, count)
        if found is not None:
            return found
    raise InputError(
        f"{path} does not say which frame is the mask of frame {frame} (MaskSubtractionSequence (0028,6100)); name the mask "
        "frames yourself, or use it as it is."
    )


def subtraction_by(mask: Sequence[int], frame: int, count: int, path: Path) -> Subtraction:
    """How `frame` (from 0) of `count` is subtracted where the user says which frames (from 0) are the mask.

    Raises InputError for frames that there are not, and for a frame of the mask itself, which leaves nothing.
    """
    frames = tuple(dict.fromkeys(mask))
    if not frames:
        raise InputError(f"No frame of {path} is given to be the mask of others.")
    unknown = [n for n in frames if not 0 <= n < count]
    if unknown:
        raise InputError(f"{path} has no frame {unknown[0]} to be a mask: it holds {count}, 0 to {count - 1}.")
    if frame in frames:
        raise InputError(
            f"Frame {frame} of {path} is a mask frame itself: nothing is left of it; choose one with contrast medium."
        )
    return Subtraction(frames, (frame,))


def frames_of_text(text: str) -> tuple[int, ...]:
    """Frames from 0 that a text such as "0-3, 7" lists, both ends of a range included; InputError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        ends = _RANGE.fullmatch(part.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last <= _LAST:
            raise InputError(f"Mask frames are numbers from 0, such as 0, 0-3 or 0, 2, 5-7, not {text!r}.")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def text_of_frames(frames: Sequence[int]) -> str:
    """The shortest text of which `frames_of_text` makes these frames, in rising order."""
    ranges: list[list[int]] = []
    for n in sorted(set(frames)):
        if ranges and n == ranges[-1][1] + 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def note_of(subtract: Subtract) -> tuple[str, ...]:
    """A sentence on what was subtracted, if anything was."""
    if subtract is False:
        return ()
    what = "The mask frames that the file names" if subtract is True else f"Frames {text_of_frames(subtract or ())}"
    return (f"{what} were subtracted: what is left is the line integral of contrast medium.",)


def line_integrals(values: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """(H, W) values that differences can be taken of: -ln I of intensities, the values themselves of an attenuation."""
    p = np.asarray(values, dtype=np.float32)
    if scale == "attenuation":
        return p
    brightest = float(np.max(p, where=np.isfinite(p), initial=0))
    return -np.log(np.maximum(p, max(_FLOOR * brightest, 1e-12)))


def shifted(image: NDArray[np.float32], shift: tuple[float, float]) -> NDArray[np.float32]:
    """An image (H, W) moved by px towards higher rows and columns, linearly interpolated, its borders continued."""
    if shift == (0.0, 0.0):
        return image
    from scipy import ndimage

    return np.asarray(ndimage.shift(image, shift, order=1, mode="nearest"), dtype=np.float32)


def mean_of(images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(H, W) mean of images."""
    return images[0] if len(images) == 1 else np.mean(images, axis=0, dtype=np.float32)


def _by_item(item: Dataset, dataset: Dataset, frame: int, count: int) -> Subtraction | None:
    operation = str(item.get("MaskOperation") or "").upper()
    averaged = max(1, int(_one(item, "ContrastFrameAveraging", 1)))
    ranges = _whole(item, "ApplicableFrameRange")
    pairs = list(zip(ranges[::2], ranges[1::2], strict=False)) or [(1, count - averaged + 1)]
    number = frame + 1  # DICOM counts from 1
    within = [(first, last) for first, last in pairs if first <= number <= last]
    if not within:
        return None
    if operation == "AVG_SUB":
        mask = _whole(item, "MaskFrameNumbers")
    elif operation in ("TID", "REV_TID"):
        offset = int(_one(item, "TIDOffset", 1))
        mask = (number - offset - (2 * (number - within[0][0]) if operation == "REV_TID" else 0),)
    else:
        return None
    contrast = range(number, number + averaged)
    if not mask or not all(1 <= n <= count for n in (*mask, *contrast)):
        return None
    return Subtraction(tuple(n - 1 for n in mask), tuple(n - 1 for n in contrast), _shift(item, dataset))


def _shift(item: Dataset, dataset: Dataset) -> tuple[float, float]:
    """MaskSubPixelShift of the item, or that of the frame for the item's ID in an Enhanced image (C.7.6.16.2.14)."""
    stated = [item]
    if item.get("SubtractionItemID") is not None:
        shifts = dataset.get("FramePixelShiftSequence") or ()
        stated += [s for s in shifts if s.get("SubtractionItemID") == item.SubtractionItemID]
    for place in reversed(stated):
        pair = numbers(place, "MaskSubPixelShift", 2)
        if pair is not None:
            return pair[0], pair[1]
    return 0.0, 0.0


def _one(item: Dataset, keyword: str, otherwise: float) -> float:
    values = numbers(item, keyword, 1)
    return otherwise if values is None else values[0]


def _whole(item: Dataset, keyword: str) -> tuple[int, ...]:
    values = item.get(keyword)
    found = None if values in (None, "") else numbers(item, keyword, int(np.size(values)))
    return tuple(int(v) for v in found or ())
