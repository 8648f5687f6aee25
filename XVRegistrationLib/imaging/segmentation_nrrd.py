"""Slicer's segmentation files: NRRD with fields for each segment.

The fields are described in Slicer's developer guide, "Segmentation labelmap file format (.seg.nrrd)".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.segmentation import Segment, Segmentation, Terminology, numbered
from XVRegistrationLib.imaging.volumes.image_files import matrix_of, open_image
from XVRegistrationLib.imaging.volumes.straight import without_shear

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.imaging.colors import Color

_MOST_HEADER = 4_000_000  # bytes; some hundred segments need some hundred thousand
_TERMINOLOGY = "TerminologyEntry"


def is_slicers(path: Path) -> bool:
    """Whether a file is an NRRD whose header describes segments, whatever its name."""
    with path.open("rb") as file:
        if file.read(4) != b"NRRD":
            return False
        header = file.read(_MOST_HEADER).split(b"\n\n", 1)[0].split(b"\r\n\r\n", 1)[0]
    return b"\nSegment0_ID:=" in header or b"\nSegment0_Name:=" in header or b"\nSegmentation_" in header


def read_slicer_segmentation(path: Path) -> Segmentation:
    """Segments with names, colours and terminology, on the file's grid, in its layers; InputError for a damaged file."""
    import SimpleITK as sitk

    image = open_image(path)
    try:
        fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    except (TypeError, ValueError) as e:  # a name that is no text
        raise InputError(f"{path} is damaged: its header holds what is no text.") from e
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype.kind not in "iu":
        raise InputError(f"{path} holds segments as fractions or surfaces; save them as binary label maps.")
    layers = [voxels] if voxels.ndim == 3 else [np.ascontiguousarray(voxels[..., n]) for n in range(voxels.shape[-1])]
    matrix = matrix_of(image)
    stored = _stored_segments(fields, path)
    if not stored or voxels.size <= len(layers):  # one voxel stands for no voxels at all
        raise InputError(f"The segmentation {path} is empty; give one that has segments.")
    if max(layer for layer, _, _ in stored) >= len(layers):
        raise InputError(f"{path} is damaged: it has segments in layers that it does not hold.")
    straightened = [without_shear(layer, matrix, str(path), 0, labels=True)[:2] for layer in layers]
    wide = [
        layer.astype(np.uint16 if len(stored) > 255 or layer.max(initial=0) > 255 else np.uint8)
        for layer, _ in straightened
    ]
    matrix = straightened[0][1]
    segments = numbered(
        [(n, layer, [(label, segment) for at, label, segment in stored if at == n]) for n, layer in enumerate(wide)]
    )
    return Segmentation(tuple(wide), matrix, segments)


def _stored_segments(fields: dict[str, str], path: Path) -> list[tuple[int, int, Segment]]:
    """Layer, stored label and description of each segment, in their order."""
    found: list[tuple[int, int, Segment]] = []
    number = 0
    while any(f"Segment{number}_{key}" in fields for key in ("ID", "Name")):
        prefix = f"Segment{number}_"
        name = fields.get(f"{prefix}Name") or fields.get(f"{prefix}ID") or f"segment {number + 1}"
        try:
            # Before Slicer 4.11 each segment was a layer of its own with the label 1, and nothing said so.
            layer = int(fields.get(f"{prefix}Layer", number))
            label = int(fields.get(f"{prefix}LabelValue", 1))
        except ValueError as e:
            raise InputError(f"{path} is damaged: the layer or label of its segment {name} is no number ({e}).") from e
        if layer < 0 or not 0 < label < 2**15:
            raise InputError(f"{path} is damaged: its segment {name} has the label {label} in the layer {layer}.")
        color = _color(fields.get(f"{prefix}Color", ""))
        found.append(
            (layer, label, Segment(0, name, layer, color, terminology_of_tags(fields.get(f"{prefix}Tags", ""))))
        )
        number += 1
    return found


def _color(text: str) -> Color | None:
    try:
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in text.split())
    except ValueError:
        return None
    return red, green, blue


def terminology_of_tags(text: str) -> Terminology | None:
    """The terminology entry in a segment's tags (`key:value|key:value`); None where there is none."""
    for tag in text.split("|"):
        key, _, entry = tag.partition(":")
        if key.strip() == _TERMINOLOGY:
            return Terminology.of_entry(entry)
    return None
