"""The sample patient in Slicer's Sample Data module: a chest CT, its segmentation, targets, and two X-ray files."""

from __future__ import annotations

import csv
import subprocess
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.jobs.home import data_folder
from XVRegistrationLib.jobs.interpreter import child_environment, interpreter
from XVRegistrationLib.panel import dependencies
from XVRegistrationLib.panel.i18n import tr as _

if TYPE_CHECKING:
    from pathlib import Path

CATEGORY, NAME = "XVRegistration", "XVRegistrationChest"
_CT, _LABELS, _NAMES = "cxr.nii.gz", "mask.nii.gz", "structures.csv"
_SECONDS = 900.0  # for a slow network
_KEPT = ("vertebrae_", "rib_", "clavicula_", "scapula_", "humerus_", "hip_", "sternum", "sacrum", "heart")
"""Beginnings of the names of the segments that are kept: bones and the heart, which an X-ray shows."""
_TARGETS = {"T6": "vertebrae_T6", "T9": "vertebrae_T9", "T12": "vertebrae_T12", "heart": "heart"}
"""Names of the targets, and the segments in whose centres they lie."""


def register() -> None:
    """Offer the sample in Slicer's Sample Data module, if that is there; nothing is downloaded."""
    try:
        import SampleData
    except ImportError:
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY, sampleName=NAME, customDownloader=lambda source: load()
    )


def load() -> list[Any]:
    """Download the CT and its labels, render the X-rays (a minute the first time), and load all but the X-rays.

    Returns the nodes of the CT, of its segmentation (bones and heart) and of the targets; the X-rays stay files, to be
    added in the panel. Raises InputError where packages are missing.
    """
    import slicer.util

    dependencies.check()
    folder = sample_folder()
    done = subprocess.run(
        [*interpreter(), "-m", "XVRegistrationLib.evaluation.sample_patient", str(folder)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise InputError(said[-1] if said else _("The sample could not be made."))
    volume = slicer.util.loadVolume(str(folder / _CT), {"name": "Chest CT"})
    segmentation = slicer.util.loadSegmentation(str(folder / _LABELS), {"name": "Chest segmentation"})
    _name_segments(segmentation, folder / _NAMES)
    targets = _add_targets(segmentation)
    slicer.util.showStatusMessage(_("Add the X-rays in {folder} in the panel.").format(folder=folder), 20000)
    return [volume, segmentation, targets]


def sample_folder() -> Path:
    """Where the sample is kept; its X-rays are the .dcm files."""
    return data_folder() / "sample"


def _name_segments(segmentation_node: Any, table: Path) -> None:
    """Give the segments the names of the table, and colours of their own; keep those that an X-ray shows."""
    with table.open(encoding="utf-8", newline="") as file:
        names = {int(row["id"]): row["structure"] for row in csv.DictReader(file)}
    segmentation = segmentation_node.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        segment.SetName(names.get(segment.GetLabelValue(), segment.GetName()))
        segment.SetColor(*color_of_label(segment.GetLabelValue()))
    for segment_id in list(segmentation.GetSegmentIDs()):
        if not segmentation.GetSegment(segment_id).GetName().startswith(_KEPT):
            segmentation.RemoveSegment(segment_id)
    segmentation_node.CreateClosedSurfaceRepresentation()  # is shown in 3D


def _add_targets(segmentation_node: Any) -> Any:
    """A vtkMRMLMarkupsFiducialNode with points in the centres of some segments, as if they had been planned."""
    import slicer

    targets = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.CreateDefaultDisplayNodes()
    segmentation = segmentation_node.GetSegmentation()
    for name, segment in _TARGETS.items():
        segment_id = segmentation.GetSegmentIdBySegmentName(segment)
        if segment_id:
            targets.AddControlPoint(*segmentation_node.GetSegmentCenterRAS(segment_id), name)
    return targets
