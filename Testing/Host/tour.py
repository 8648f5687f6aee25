"""From a CT to labels on X-rays by clicks and keys in the host, with a picture of each step.

`python -m Testing.Host.tour DATA PICTURES`: DATA as `demo_patient` makes it, PICTURES a folder for the PNG files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Testing.Host.host import Host

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 300.0  # s
_TRAINING = "0.5"  # minutes
_TARGETS = {"T6": "vertebrae_T6", "T9": "vertebrae_T9", "T12": "vertebrae_T12", "heart": "heart"}
_SHOWN = ("vertebrae_", "rib_", "clavicula", "scapula", "sternum", "heart")
OUTCOME = 2


class Tour:
    """The steps, in order; each leaves a picture."""

    def __init__(self, host: Host, data: Path, pictures: Path) -> None:
        self.host, self.data, self.pictures = host, data, pictures
        self.panel = host.open_module(ROOT / "XVRegistration/XVRegistration.py")
        self.ui = self.panel.ui
        self.session = self.panel.logic.session
        self._count = 0

    def run(self) -> None:
        self.patient()
        self.xrays()
        self.register()
        self.see()
        self.train()
        self.compare()
        self.correct()
        self.beside()
        self.report()

    def patient(self) -> None:
        """A CT, its segmentation and four targets are in the scene, and are chosen."""
        from Testing.Host.__main__ import load_folder

        segmentation, volume = _sorted(load_folder(self.data))
        targets = add_targets(segmentation)
        segmentation.CreateClosedSurfaceRepresentation()
        self.picture("empty")
        self.host.select_node(self.ui.volumeSelector, volume)
        self.host.select_node(self.ui.segmentationSelector, segmentation)
        self.host.select_node(self.ui.targetsSelector, targets)
        self.wait(lambda: self.session.model_view().ready)
        self.picture("patient")

    def xrays(self) -> None:
        """Three DICOM files."""
        files = sorted((self.data / "xrays").glob("*.dcm"))
        self.host.dialogs.answers.append([str(file) for file in files])
        self.host.click(self.ui.addFilesButton)
        self.wait(lambda: self.ui.xrayTable.rowCount == len(files) and not self.session.busy)
        self.host.panel.ensureWidgetVisible(self.ui.xrayTable)
        self.picture("xrays")

    def register(self) -> None:
        self.host.click(self.ui.registerButton)
        self.wait(lambda: all(row.state == "registered" for row in self.session.rows()) and not self.session.busy)
        self.host.panel.ensureWidgetVisible(self.ui.registerButton)
        self.picture("registered")

    def see(self) -> None:
        """The other X-ray, without and with the DRR laid over it; then its C-arm is pushed by hand."""
        import slicer.util

        self.host.click_cell(self.ui.xrayTable, 1, OUTCOME)
        self.wait(lambda: not self.session.busy)
        self.panel.logic.session.parameters.blend = 0.0
        self.host.panel.ensureWidgetVisible(self.ui.blendSlider)
        self.picture("labels")
        self.panel.logic.session.parameters.blend = 0.5
        if not self.ui.handlesButton.isChecked():
            self.host.click(self.ui.handlesButton)
        pose = self.session.rows()[1].node.GetParentTransformNode()
        found = slicer.util.arrayFromTransformMatrix(pose)
        pushed = found.copy()
        pushed[:3, 3] += 25.0 * found[:3, 0]
        pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(pushed))
        self.host.process(0.2)
        self.wait(lambda: not self.session.busy)
        self.picture("moved")
        self.host.click(self.ui.refineButton)
        self.wait(lambda: not self.session.busy)
        self.picture("refined")

    def compare(self) -> None:
        """The registered X-ray and its DRR in three ways."""
        for way in ("Edges of the DRR", "Checkerboard", "Error map"):
            self.host.choose(self.ui.comparisonComboBox, way)
            self.host.process(0.2)
            self.wait(lambda: not self.session.busy)
            self.host.panel.ensureWidgetVisible(self.ui.xrayWindowSpinBox)
            self.picture(way.lower().replace(" ", "-"))

    def correct(self) -> None:
        """The C-arm is moved by numbers; landmarks say how far it is off, and where it is."""
        import numpy as np

        from XVRegistrationLib.geometry.camera import project
        from XVRegistrationLib.scene.attributes import read_intrinsics
        from XVRegistrationLib.scene.xrays import pose_from_node

        node, targets = self.session.rows()[1].node, self.session.parameters.targets
        points = [targets.GetNthControlPointPositionWorld(i) for i in range(targets.GetNumberOfControlPoints())]
        pixels = project(np.array(points), pose_from_node(node), read_intrinsics(node))
        for number, (point, pixel) in enumerate(zip(points, pixels, strict=True), 1):
            self.session.mark_in_ct(str(number), tuple(point))
            self.session.mark_in_xray(str(number), tuple(pixel))
        self.host.choose(self.ui.comparisonComboBox, "Difference")
        self.host.click(self.ui.landmarksCollapsibleButton)
        self.host.enter_text(self.ui.rightSpinBox, "6")
        self.host.enter_text(self.ui.turnSpinBox, "4")
        self.host.process(0.2)
        self.wait(lambda: not self.session.busy)
        self.host.panel.ensureWidgetVisible(self.ui.fitLandmarksButton)
        self.picture("corrected")
        self.host.click(self.ui.resetPoseButton)
        self.host.choose(self.ui.comparisonComboBox, "Blend")
        self.host.click(self.ui.landmarksCollapsibleButton)

    def beside(self) -> None:
        """Two X-rays side by side: a point that is picked on one has its line on the other, and its ray in 3D."""
        import numpy as np

        from Testing.Host.clicks import click_on_pixel
        from XVRegistrationLib.geometry.camera import project
        from XVRegistrationLib.scene.attributes import read_intrinsics
        from XVRegistrationLib.scene.xrays import pose_from_node

        ui, (node, *_others) = self.ui, (row.node for row in self.session.rows())
        self.host.click_cell(ui.xrayTable, 0, OUTCOME)
        self.host.click(ui.biplaneCheckBox)
        self.wait(lambda: self.session.beside is not None and not self.session.busy)
        self.host.process(0.5)
        place = self.session.parameters.targets.GetNthControlPointPositionWorld(1)
        [pixel] = project(np.array([place]), pose_from_node(node), read_intrinsics(node))
        self.host.click(ui.targetsCollapsibleButton)
        self.host.click(ui.pickButton)
        click_on_pixel(self.host, node, (pixel[0] + 40.0, pixel[1] - 60.0))
        self.host.panel.ensureWidgetVisible(ui.addPickedButton)
        self.picture("beside")
        self.host.click(ui.clearPicksButton)
        self.host.click(ui.targetsCollapsibleButton)
        self.host.click(ui.biplaneCheckBox)
        self.wait(lambda: not self.session.busy)

    def report(self) -> None:
        """Both decisions and a note; the report is written."""
        ui = self.ui
        with tempfile.TemporaryDirectory() as folder:
            for number, decision in enumerate(("Accepted", "Rejected")):
                self.host.click_cell(ui.xrayTable, number, OUTCOME)
                self.wait(lambda: not self.session.busy)
                self.host.choose(ui.reviewComboBox, decision)
            self.host.enter_text(ui.noteLineEdit, "moved by hand for this picture")
            self.host.click_cell(ui.xrayTable, 0, OUTCOME)
            self.host.dialogs.answers.append(str(Path(folder) / "report.html"))
            self.host.click(ui.reportButton)
            self.wait(lambda: not self.session.busy)
            self.host.panel.ensureWidgetVisible(ui.reportButton)
            self.picture("report")

    def train(self) -> None:
        self.host.enter_text(self.ui.minutesSpinBox, _TRAINING)
        self.host.click(self.ui.trainButton)
        self.wait(lambda: (self.session.model_view().fraction or 0.0) > 0.75)
        self.host.panel.ensureWidgetVisible(self.ui.volumeSelector)
        self.picture("training")
        self.wait(lambda: not self.session.training)
        self.picture("trained")

    def wait(self, predicate: Any) -> None:
        self.host.wait_until(predicate, _PATIENCE)

    def picture(self, name: str) -> None:
        self._count += 1
        self.host.process(0.5)
        print(self.host.screenshot(self.pictures / f"{self._count}-{name}.png"))


def add_targets(segmentation_node: Any) -> Any:
    """Markups at the centres of some segments."""
    import slicer

    targets = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.CreateDefaultDisplayNodes()
    for name, segment in _TARGETS.items():
        segment_id = segmentation_node.GetSegmentation().GetSegmentIdBySegmentName(segment)
        targets.AddControlPoint(*segmentation_node.GetSegmentCenterRAS(segment_id), name)
    return targets


def _sorted(nodes: list[Any]) -> tuple[Any, Any]:
    """The segmentation, of which only bones and heart are kept, and the volume."""
    segmentation = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))
    content = segmentation.GetSegmentation()
    for segment_id in list(content.GetSegmentIDs()):
        if not content.GetSegment(segment_id).GetName().startswith(_SHOWN):
            content.RemoveSegment(segment_id)
    return segmentation, next(node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode"))


def main() -> None:
    data, pictures = (Path(argument).resolve() for argument in sys.argv[1:3])
    with tempfile.TemporaryDirectory(prefix="xvregistration-tour-") as home:
        os.environ["XVREGISTRATION_HOME"] = home
        from Testing.Host import start_host

        host = start_host()
        Tour(host, data, pictures).run()
        host.close()
        host.errors.check()


if __name__ == "__main__":
    main()
