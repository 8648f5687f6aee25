"""Structures of a patient: voxels in layers, so that they may overlap, with names, colours and codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError, check_names
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.volume import LabelMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3, 8): "SCT", "12738006", "Brain"."""

    scheme: str
    value: str
    meaning: str

    @staticmethod
    def of_entry(text: str) -> Code | None:
        """The inverse of `entry`; None without a value."""
        parts = text.split("^")
        return Code(parts[0], parts[1], parts[2]) if len(parts) >= 3 and parts[1] else None

    @property
    def entry(self) -> str:
        """As Slicer writes it."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class Terminology:
    """What a segment is, in the codes of DICOM segmentations (PS3.3, C.8.20.4) and of Slicer's terminology.

    Slicer's entry is `context~category~type~type modifier~anatomic context~region~region modifier`.
    """

    category: Code | None = None
    type: Code | None = None
    type_modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None

    @staticmethod
    def of_entry(text: str) -> Terminology | None:
        """The inverse of `entry`; None where it holds no code."""
        codes = [Code.of_entry(part) for part in text.split("~")]
        codes += [None] * (7 - len(codes))
        found = Terminology(codes[1], codes[2], codes[3], codes[5], codes[6])
        return None if found == Terminology() else found

    @property
    def entry(self) -> str:
        """As Slicer writes it, of no context in particular."""
        category, kind, modifier, region, where = (
            "^^" if code is None else code.entry
            for code in (self.category, self.type, self.type_modifier, self.region, self.region_modifier)
        )
        return "~".join(["", category, kind, modifier, "", region, where])


@dataclass(frozen=True)
class Segment:
    """One structure."""

    value: int
    """Its label in its layer; no other segment has it, in whatever layer."""
    name: str
    layer: int = 0
    color: Color | None = None
    """Red, green and blue, 0 to 1; None where the file has none."""
    terminology: Terminology | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments on one grid; those that overlap lie in different layers."""

    layers: tuple[NDArray[Any], ...]
    """Each (K, J, I) label values; 0 is background."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4), mm."""
    segments: tuple[Segment, ...]

    @property
    def names(self) -> dict[int, str]:
        """Label value -> structure name."""
        return {s.value: s.name for s in self.segments}

    @property
    def colors(self) -> dict[int, Color]:
        """Label value -> colour, of those that have one."""
        return {s.value: s.color for s in self.segments if s.color is not None}

    def values(self, names: Sequence[str]) -> list[int]:
        """Label values of structures by name, in the order given; InputError for a name that is not there."""
        by_name = {s.name: s.value for s in self.segments}
        check_names(names, by_name, "The segmentation has no structure named")
        return [by_name[name] for name in names]

    def mask(self, value: int) -> NDArray[np.bool_]:
        """(K, J, I) voxels of the segment with this label value."""
        return np.asarray(self.layers[self._segment(value).layer] == value)

    def points(self, values: Sequence[int]) -> NDArray[np.float64]:
        """Centres (N, 3) of the voxels of any of these segments, RAS mm."""
        inside = np.zeros(self.layers[0].shape, dtype=np.bool_)
        for value in values:
            inside |= self.mask(value)
        return transform_points(self.ijk_to_ras, np.argwhere(inside)[:, ::-1])

    def on_grid(self, shape: tuple[int, ...], ijk_to_ras: NDArray[np.float64]) -> Segmentation:
        """The same segments on another grid of `shape` (K, J, I), each voxel of it with what lies nearest."""
        if shape == self.layers[0].shape and np.allclose(ijk_to_ras, self.ijk_to_ras, atol=1e-4):
            return self
        layers = tuple(_nearest(layer, self.ijk_to_ras, shape, ijk_to_ras) for layer in self.layers)
        return replace(self, layers=layers, ijk_to_ras=np.asarray(ijk_to_ras, dtype=np.float64))

    def label_map(self) -> LabelMap:
        """One image of all layers. Where segments overlap the smaller is kept, so that a bone inside a body is not lost."""
        merged = self.layers[0]
        if len(self.layers) > 1:
            highest = max(s.value for s in self.segments)
            counts = sum(np.bincount(layer[layer > 0], minlength=highest + 1) for layer in self.layers)
            by_size = np.argsort(-np.asarray(counts), kind="stable").astype(merged.dtype)
            rank = np.empty(highest + 1, dtype=merged.dtype)
            rank[by_size] = np.arange(1, highest + 2)
            rank[0] = 0
            merged = rank[self.layers[0]]
            for layer in self.layers[1:]:
                np.maximum(merged, rank[layer], out=merged)
            merged = np.concatenate([np.zeros(1, by_size.dtype), by_size])[merged]
        found = set(np.unique(merged).tolist())
        return LabelMap(merged, self.ijk_to_ras, {v: name for v, name in self.names.items() if v in found})

    def _segment(self, value: int) -> Segment:
        found = next((s for s in self.segments if s.value == value), None)
        if found is None:
            raise InputError(f"The segmentation has no structure with the label {value}.")
        return found


def of_label_map(labels: LabelMap) -> Segmentation:
    """A label map as a segmentation of one layer, without colours and codes."""
    segments = tuple(Segment(value, name) for value, name in labels.names.items())
    return Segmentation((labels.array,), labels.ijk_to_ras, segments)


def numbered(masks: Sequence[tuple[int, NDArray[Any], Sequence[tuple[int, Segment]]]]) -> tuple[Segment, ...]:
    """Segments of layers (index, stored labels (K, J, I), (stored label, segment)) with label values of their own.

    The stored labels are kept where no two segments share one, else they become 1, 2, ... in the order of the segments; the
    layers are changed in place.
    """
    stored = [label for _, _, segments in masks for label, _ in segments]
    keep = len(set(stored)) == len(stored)
    found, following = [], 0
    for index, layer, segments in masks:
        new = np.zeros(int(layer.max(initial=0)) + 1, dtype=layer.dtype)
        for label, segment in segments:
            following += 1
            value = label if keep else following
            if label < len(new):
                new[label] = value
            found.append((following, replace(segment, value=value, layer=index)))
        layer[...] = new[layer]
    return tuple(segment for _, segment in sorted(found, key=lambda pair: pair[0]))


def _nearest(
    layer: NDArray[Any], matrix: NDArray[np.float64], shape: tuple[int, ...], wanted: NDArray[np.float64]
) -> NDArray[Any]:
    import SimpleITK as sitk

    def grid(image: Any, ijk_to_ras: NDArray[np.float64]) -> Any:
        lps = lps_to_ras(np.asarray(ijk_to_ras, dtype=np.float64))  # the way back is the same flip
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        return image

    source = grid(sitk.GetImageFromArray(np.ascontiguousarray(layer)), matrix)
    reference = grid(sitk.Image([int(n) for n in shape[::-1]], sitk.sitkUInt8), wanted)
    resampled = sitk.Resample(source, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayFromImage(resampled))
