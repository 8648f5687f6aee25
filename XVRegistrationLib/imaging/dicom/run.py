"""Frames of a DICOM file as grey values, with the data set that describes each, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import check_image, number_of_frames, plain, read_dataset, understanding
from XVRegistrationLib.imaging.dicom.frames import decoded, reduced
from XVRegistrationLib.imaging.dicom.orientation import orientation
from XVRegistrationLib.imaging.dicom.pixels import grey_scale, padded
from XVRegistrationLib.imaging.dicom.shutters import opening, stated
from XVRegistrationLib.imaging.dicom.subtraction import line_integrals, mean_of, shifted, subtraction_by, subtraction_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset, FileDataset

    from XVRegistrationLib.imaging.dicom.subtraction import Subtract, Subtraction
    from XVRegistrationLib.imaging.xray import Scale

_STILL = 0.5
"""Degrees that the C-arm may turn while frames are put together."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a file, or one made of several frames."""

    dataset: Dataset
    """What describes it, in the words of a plain image (see dataset.plain)."""
    pixels: NDArray[Any]
    """(H, W) grey values."""
    scale: Scale
    stated: bool
    """Whether a tag says what bright pixels mean."""
    mask: NDArray[np.bool_] | None
    """(H, W) pixels that are neither padding nor behind a shutter; None: all are."""


@dataclass(frozen=True, eq=False)
class Run:
    """A file that holds one frame or several."""

    path: Path
    dataset: FileDataset
    count: int

    @classmethod
    def open(cls, path: Path) -> Run:
        """Of a file whose header is read and checked; InputError unless it is an X-ray."""
        dataset = read_dataset(path)
        with understanding(path):
            check_image(dataset, path)
            return cls(path, dataset, number_of_frames(dataset, path))

    def frames(self, indices: Sequence[int], subtract: Subtract = False) -> Iterator[Frame]:
        """Some frames (from 0) in their order, each decoded when it is asked for; InputError where the file is damaged.

        With `subtract` they are line integrals of contrast medium, as far as the file or `subtract` says what is the mask.
        """
        if subtract is not False:
            yield from self._subtracted(indices, subtract)
            return
        described: Dataset | None = None
        shut: tuple[str, ...] | None = None
        for index, stored in zip(indices, decoded(self.path, self.dataset, indices), strict=True):
            with understanding(self.path):
                dataset = plain(self.dataset, index)
                # What is the same object for all frames says the same of them, and one mask serves many frames.
                if dataset is not described:
                    described, grey = dataset, grey_scale(dataset, self.path)
                    if shut != stated(dataset):
                        shut, open_ = stated(dataset), opening(dataset)
                padding = padded(dataset, stored)
            mask = open_ if padding is None else _both(open_, ~padding)
            yield Frame(dataset, grey.values(stored), grey.scale, grey.stated, mask)

    def subtractable(self, subtract: Subtract = True) -> list[int]:
        """Frames (from 0) that a mask can be subtracted from; InputError where there are none."""
        found = []
        for index in range(self.count):
            try:
                with understanding(self.path):
                    self._subtraction(index, subtract)
            except InputError:
                continue
            found.append(index)
        if not found and subtract is not True:
            self._subtraction(0, subtract)  # says what is wrong with the mask
        if not found:
            raise InputError(
                f"{self.path} does not say which frames are the mask of others (MaskSubtractionSequence (0028,6100)); "
                "name the mask frames yourself, or use it as it is."
            )
        return found

    def _subtraction(self, index: int, subtract: Subtract) -> Subtraction:
        if subtract is True:
            return subtraction_of(plain(self.dataset, index), index, self.count, self.path)
        return subtraction_by(subtract or (), index, self.count, self.path)

    def _subtracted(self, indices: Sequence[int], subtract: Subtract) -> Iterator[Frame]:
        if not isinstance(subtract, bool):
            self._check_still([n for n in {*subtract, *indices} if 0 <= n < self.count])
        known: tuple[tuple[int, ...], NDArray[np.float32]] | None = None
        for index in indices:
            with understanding(self.path):
                how = self._subtraction(index, subtract)
            if known is None or known[0] != how.mask:
                known = how.mask, mean_of([line_integrals(f.pixels, f.scale) for f in self.frames(how.mask)])
            contrast = list(self.frames(how.contrast))
            first = contrast[0]
            difference = mean_of([line_integrals(f.pixels, f.scale) for f in contrast]) - shifted(known[1], how.shift)
            yield Frame(first.dataset, difference, "attenuation", first.stated, first.mask)

    def _check_still(self, indices: Sequence[int]) -> None:
        """Raise InputError where the C-arm turned between frames of which one is to be the mask of the others."""
        turned = _turned(self, indices)
        if turned > _STILL:
            raise InputError(
                f"The C-arm turned by {turned:.0f} degrees between these frames of {self.path}: one is no mask of another."
            )


def over_time(run: Run, how: str, subtract: Subtract = False) -> Frame:
    """The min, max or mean over a run of the radiation that reached each pixel, holding no more than a few frames.

    The least radiation ("min") shows all that was dense at any time, such as vessels as they fill. Raises InputError
    where the C-arm turned meanwhile.
    """
    turned = _turned(run, range(run.count))
    if turned > _STILL:
        raise InputError(
            f"The C-arm turned by {turned:.0f} degrees during {run.path}: a {how} over its frames shows nothing of one "
            "pose. Choose a frame, or register all of them in turn."
        )
    frames = run.frames(range(run.count) if subtract is False else run.subtractable(subtract), subtract)
    first = next(frames)
    mask = first.mask

    def values() -> Iterator[NDArray[Any]]:
        nonlocal mask
        yield first.pixels
        for frame in frames:
            mask = _both(mask, frame.mask)
            yield frame.pixels

    dense_first = {"min": "max", "max": "min", "mean": "mean"}
    pixels = reduced(values(), how if first.scale == "intensity" else dense_first[how])
    return Frame(first.dataset, pixels, first.scale, first.stated, mask)


def _turned(run: Run, indices: Sequence[int]) -> float:
    """Degrees between the outermost angles of some frames of a run: a C-arm that swung may end where it began."""
    angles: list[tuple[float | None, float | None]] = []
    described: Dataset | None = None
    with understanding(run.path):
        for index in indices:
            dataset = plain(run.dataset, index)
            if dataset is not described:  # the same object for all frames of a C-arm that stood still
                described, way = dataset, orientation(dataset, None)
                angles.append((way.primary.value, way.secondary.value))
    spreads = [0.0]
    for values in zip(*angles, strict=True):
        known = [value for value in values if value is not None]
        if known:
            spreads.append(float(np.ptp(np.unwrap(known, period=360.0))))
    return max(spreads)


def _both(a: NDArray[np.bool_] | None, b: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Pixels that count by both of two masks, of which None is all."""
    return b if a is None else a if b is None else a & b
