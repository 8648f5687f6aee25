"""X-rays as engine and panel hand them to each other: JSON values and arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.partial import PartialXray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FIELDS = (
    "name",
    "scale",
    "path",
    "mirrored",
    "sdd",
    "primary_angle",
    "secondary_angle",
    "sod",
    "rotation",
    "frame",
    "frames",
)
_PAIRS = ("spacing", "principal_point")
IF_POSSIBLE = "if possible"
"""Of a request to read an X-ray, instead of whether to subtract: where the file says what."""


def pack(frames: Sequence[PartialXray]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Fields and arrays of the frames of one file, which have one size; `unpack` is its inverse."""
    told = [
        {
            **{name: getattr(frame, name) for name in (*_FIELDS, *_PAIRS)},
            "origins": frame.origins,
            "absent": frame.absent,
            "notes": list(frame.notes),
        }
        for frame in frames
    ]
    arrays: dict[str, NDArray[Any]] = {"pixels": np.stack([frame.pixels for frame in frames])}
    if any(frame.mask is not None for frame in frames):
        masks = [np.ones(f.pixels.shape, np.uint8) if f.mask is None else f.mask.astype(np.uint8) for f in frames]
        same = all(np.array_equal(mask, masks[0]) for mask in masks)
        arrays["masks"] = np.stack(masks[:1] if same else masks)
    return {"frames": told}, arrays


def unpack(fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> list[PartialXray]:
    """The frames of one file; pixels and masks are views of the arrays."""
    masks = arrays.get("masks")
    found = []
    for i, told in enumerate(fields["frames"]):
        values: dict[str, Any] = {name: told[name] for name in _FIELDS}
        for name in _PAIRS:
            values[name] = None if told[name] is None else (told[name][0], told[name][1])
        for name in ("origins", "absent"):
            values[name] = dict(told[name])
        values["notes"] = tuple(told["notes"])
        mask = None if masks is None else masks[min(i, len(masks) - 1)].astype(np.bool_)
        found.append(PartialXray(pixels=arrays["pixels"][i], mask=mask, **values))
    return found
