"""The registered X-rays of a scene as files for other programs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.bundle import save_mrb
from XVRegistrationLib.scene.identity import without_identity
from XVRegistrationLib.scene.leaving_out import is_for_others, without_xrays
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.reviews import read_review
from XVRegistrationLib.scene.runs import frame_of
from XVRegistrationLib.scene.segments import segments_of, terminology_of
from XVRegistrationLib.scene.xrays import all_xrays_in, name_of, xray_from_node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from XVRegistrationLib.registration.export import Exported


def export_xrays(
    scene: Any,
    nodes: Sequence[Any],
    folder: Path,
    *,
    targets_node: Any = None,
    dicom_files: Mapping[Any, Path] | None = None,
    left_out: Callable[[str], bool] = lambda _name: False,
    draw_targets: bool = True,
    keep_identity: bool = False,
    bundle: bool = True,
) -> list[Path]:
    """Write the X-rays with these image nodes into a folder, as `registration.export` does; return the paths.

    `dicom_files` are the files of image nodes that came from DICOM, for DICOM segmentations. Structures
    whose name `left_out` takes, and targets without `draw_targets`, are in the data and not in the pictures. With `bundle` the
    scene is saved beside them, without the X-rays that are `kept_back`, and without what Slicer's DICOM module keeps of the
    patient unless `keep_identity`. Raises InputError for an X-ray that is not registered where it stands.
    """
    from XVRegistrationLib.registration.export import write_exports, write_readme

    items = [_exported(node, (dicom_files or {}).get(node), left_out) for node in nodes]
    targets = targets_of(targets_node)
    written = write_exports(folder, items, targets, keep_identity=keep_identity, draw_targets=draw_targets)
    if bundle:
        back = kept_back(scene, nodes)
        with nullcontext() if keep_identity else without_identity(scene), without_xrays(scene, back, nodes) as edit:
            written.append(save_mrb(scene, folder / "scene.mrb", edit=edit if back else None))
        write_readme(folder, written)
    return written


def kept_back(scene: Any, nodes: Sequence[Any]) -> list[Any]:
    """Image nodes of the X-rays that a scene for others does not have, where these are exported: rejected, or not registered."""
    return [node for node in all_xrays_in(scene) if node not in nodes and not is_for_others(node)]


def _exported(node: Any, dicom: Path | None, left_out: Callable[[str], bool]) -> Exported:
    from dataclasses import replace

    from XVRegistrationLib.registration.export import Exported

    found = registration_that_holds(node)
    if found is None:
        raise InputError(f"{name_of(node)} is not registered where it stands; register it before it is exported.")
    xray = xray_from_node(node)
    named = replace(found, name=name_of(node))
    labels = _labels(node)
    hidden = frozenset(label.name for label in labels if left_out(label.name))
    return Exported(named, xray, labels, dicom, frame_of(node), read_review(node).review, hidden)


def _labels(node: Any) -> tuple[ProjectedLabel, ...]:
    """The structures that are drawn on an X-ray, on its own pixels; those that it does not show are left out."""
    drawn = node.GetNodeReference(PREFIX + "Labels")
    if drawn is None:
        return ()
    found = []
    for segment_id, name, color in segments_of(drawn):
        mask = np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(drawn, segment_id, node))[0] != 0
        if mask.any():
            terminology = terminology_of(drawn.GetSegmentation().GetSegment(segment_id))
            found.append(ProjectedLabel(name, color, mask, terminology))
    return tuple(found)


def targets_of(node: Any) -> list[tuple[str, Any]]:
    """Names and points (3,), RAS mm, of the control points of a markups node that have a position."""
    if node is None:
        return []
    placed = [
        i
        for i in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(i) == node.PositionDefined
    ]
    return [(node.GetNthControlPointLabel(i), np.array(node.GetNthControlPointPositionWorld(i))) for i in placed]
