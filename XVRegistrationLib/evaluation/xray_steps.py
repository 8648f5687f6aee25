"""What is done to an X-ray before it is compared with a rendered one, step by step, as images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.pictures import window
from XVRegistrationLib.imaging.dicom.frames import stored_values
from XVRegistrationLib.imaging.intensity import display_integral
from XVRegistrationLib.imaging.usable import left_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray

_MOST_PIXELS = 1024
OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))
REASONS = (
    ("collimator", "#e69f00"),
    ("saturated", "#56b4e9"),
    ("text, marker", "#cc79a7"),
    ("by the file", "#009e73"),
    ("ignored", "#d55e00"),
)
"""Why pixels do not count, and the colour of each reason."""


@dataclass(frozen=True, eq=False)
class Step:
    """An image on the way from the file to what is compared."""

    title: str
    image: NDArray[np.float32]
    """(h, w) grey values or (h, w, 3) colours, 0 to 1; every so many of a large X-ray's pixels."""


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of one X-ray, in their order."""

    images: tuple[Step, ...]
    left_out: tuple[tuple[str, str, float], ...]
    """Reason, colour (#rrggbb) and share (0 to 1) of the pixels that do not count; empty where all do."""
    aspect: float
    """Height of a pixel divided by its width."""
    letters: dict[str, str] = field(default_factory=dict)
    """The patient's side at each side of the images ("left", "right", "top", "bottom"), as far as the file says."""


def xray_steps(parts: PartialXray, words: DicomWords | None, counts: NDArray[np.bool_] | None = None) -> Steps:
    """The image as stored (where `words` of its DICOM file are given), as understood, as line integrals, and what of it counts.

    `counts` (H, W) is what the user lets count. Raises InputError for an image without content.
    """
    p = display_integral(parts)
    meaning = "bright is radiation" if parts.scale == "intensity" else "bright is dense"
    found = [] if words is None else _as_stored(parts)
    found += [
        Step(f"as understood: {meaning}", window(_small(parts.pixels))),
        Step("line integral, bright is dense", _small(p)),
        Step("what counts", _coloured(parts, p, counts)),
    ]
    shares = zip(REASONS, _reasons(parts, counts), strict=True)
    return Steps(
        tuple(found),
        tuple((name, color, float(where.mean())) for (name, color), where in shares if where.any()),
        1.0 if parts.spacing is None else parts.spacing[1] / parts.spacing[0],
        letters_of(*words.orientation) if words is not None and words.orientation is not None else {},
    )


def letters_of(row: str, column: str) -> dict[str, str]:
    """The patient's side at each side of an image whose rows and columns run towards `row` and `column`."""
    return {
        "left": "".join(OPPOSITE[c] for c in row),
        "right": row,
        "top": "".join(OPPOSITE[c] for c in column),
        "bottom": column,
    }


def _as_stored(parts: PartialXray) -> list[Step]:
    stored = stored_values(parts.path, parts.frame)
    of_run = parts.frames > 1 and parts.frame is None
    return [] if stored is None else [Step("first frame as stored" if of_run else "as stored", window(_small(stored)))]


def _coloured(parts: PartialXray, p: NDArray[np.float32], counts: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """(h, w, 3) the line integrals, coloured where they do not count."""
    picture = np.repeat(_small(p)[..., None], 3, axis=2)
    for (_, color), where in zip(REASONS, _reasons(parts, counts), strict=True):
        rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=np.float32)
        picture[_small(where)] = 0.35 * picture[_small(where)] + 0.65 * rgb
    return picture


def _reasons(parts: PartialXray, counts: NDArray[np.bool_] | None) -> tuple[NDArray[np.bool_], ...]:
    found = left_out(parts)
    by_user = np.zeros(found.marked.shape, dtype=bool) if counts is None else ~counts
    return found.collimated, found.saturated, found.marked, found.by_the_file, by_user


def _small(image: NDArray[Any]) -> NDArray[Any]:
    k = max(1, -(-max(image.shape) // _MOST_PIXELS))
    return image[::k, ::k]
