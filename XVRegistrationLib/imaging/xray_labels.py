"""Structures where they fall on an X-ray: as a label map with the X-ray's geometry, and drawn on it as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.geometry.conventions import ras_to_lps

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import SimpleITK
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.imaging.segmentation import Terminology

_TARGET = (0, 229, 255)


@dataclass(frozen=True, eq=False)
class ProjectedLabel:
    """Where a structure falls on an X-ray."""

    name: str
    color: Color
    mask: NDArray[np.bool_]
    """(H, W), as the image is stored."""
    terminology: Terminology | None = None


def merged_labels(labels: Sequence[ProjectedLabel]) -> NDArray[np.uint16]:
    """One image (H, W) of labels 1, 2, ... in their order; where they overlap the smaller is kept, so that none is lost."""
    return on_top({value: label.mask for value, label in enumerate(labels, start=1)}, labels[0].mask.shape)


def on_top(masks: Mapping[int, NDArray[np.bool_]], shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """The label value that is drawn at each pixel (H, W) of `shape`, 0 for none: of masks (H, W) by value the smallest there."""
    merged = np.zeros(shape, np.uint16)
    for value, mask in sorted(masks.items(), key=lambda pair: -int(pair[1].sum())):
        merged[mask] = value
    return merged


def write_label_map(
    path: str | os.PathLike[str], labels: NDArray[np.uint16], pose: ArrayLike, intrinsics: Intrinsics
) -> None:
    """Write labels (H, W) as a label map of one slice that lies where the detector is (NIfTI, NRRD or MetaImage, by suffix).

    `pose` (4, 4) is camera -> RAS, mm. The slice is one millimetre thick.
    """
    import SimpleITK as sitk

    lps = ras_to_lps(np.asarray(pose, dtype=np.float64) @ image_to_camera(intrinsics))
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels[None]))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    _write(path, image)


def write_overlay(
    path: str | os.PathLike[str],
    shown: NDArray[np.float32],
    labels: Sequence[ProjectedLabel],
    targets: Sequence[tuple[float, float]] = (),
) -> None:
    """Write a PNG of the X-ray's own pixels (H, W), grey 0..1, with the labels' outlines and crosses at stored pixels."""
    import SimpleITK as sitk

    height, width = shown.shape
    picture = np.repeat((255 * np.clip(shown, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    thickness = max(1, round(max(height, width) / 1000))
    for label in labels:
        picture[inner_edge(label.mask, thickness)] = np.round(255 * np.array(label.color)).astype(np.uint8)
    arm = max(2, round(max(height, width) / 100))
    for column, row in targets:
        if np.isfinite((column, row)).all() and -0.5 <= column < width - 0.5 and -0.5 <= row < height - 0.5:
            i, j = round(row), round(column)
            picture[i, max(0, j - arm) : j + arm + 1] = _TARGET
            picture[max(0, i - arm) : i + arm + 1, j] = _TARGET
    _write(path, sitk.GetImageFromArray(picture, isVector=True))


def _write(path: str | os.PathLike[str], image: SimpleITK.Image) -> None:
    import SimpleITK as sitk

    try:
        with replacing(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=True)
    except RuntimeError as e:
        raise InputError(f"{path} cannot be written: {str(e).strip().splitlines()[-1]}") from e


def inner_edge(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Pixels of a mask with one outside it among the next `thickness` to each side."""
    inside = mask.copy()
    for _ in range(thickness):
        smaller = np.pad(inside, 1)
        inside = smaller[:-2, 1:-1] & smaller[2:, 1:-1] & smaller[1:-1, :-2] & smaller[1:-1, 2:] & inside
    return mask & ~inside
