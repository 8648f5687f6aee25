"""What was changed, moved or chosen meanwhile: an outcome that no longer holds is not shown as if it did, and nothing gets stuck."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util
import vtk

from Testing.Python.panel.patients import CAMERA, bones, patient
from Testing.Python.panel.sessions import TIMEOUT, add, choose, row_of, tick_until
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.panel.belongings import Belongings
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics, read_known
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose, volume_node_of


def _shifted(node, mm=80.0):
    """Put a node under a linear transform that moves it."""
    matrix = np.eye(4)
    matrix[0, 3] = mm
    shift = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shift.GetID())


def _bent(node):
    """Put a node under a transform that is not linear."""
    warp = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ((0, 0, 0), (100, 0, 0), (0, 100, 0), (0, 0, 100), (60, 60, 60)):
        source.InsertNextPoint(point)
        target.InsertNextPoint([1.1 * point[0], point[1] + (5.0 if point[0] == 60 else 0.0), point[2]])
    warp.SetSourceLandmarks(source)
    warp.SetTargetLandmarks(target)
    warp.SetBasisToR()
    bend = node.GetScene().AddNewNodeByClass("vtkMRMLTransformNode", "bend")
    bend.SetAndObserveTransformToParent(warp)
    assert not bend.IsTransformToWorldLinear()
    node.SetAndObserveTransformNodeID(bend.GetID())


def test_a_c_arm_or_a_calibration_completes_an_image(session, tmp_path):
    camera = Intrinsics(900.0, (5.0, 4.0), (30.0, 41.0), (64, 64), True)
    write_calibration(tmp_path / "camera.yaml", calibration_of(camera, np.eye(4)), "opencv-yaml")
    for name in ("by name", "by file"):
        plain = session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        slicer.util.updateVolumeFromArray(plain, np.random.default_rng(0).uniform(size=(1, 64, 64)))
        session.add_nodes([plain])
    session.wait(TIMEOUT)
    named, filed = (row.node for row in session.rows())
    session.complete_by_c_arm(named, "azurion-fd20")
    assert row_of(session, named).missing == ("sdd", "spacing")
    assert "the distance source-detector and the pixel spacing of such an image; enter it" in session.status
    session.complete_by_c_arm(named, "cios-fusion")
    row = row_of(session, named)
    assert (row.missing, row.values["sdd"]) == ((), 1020.0)
    assert row.values["spacing"] == pytest.approx((4.656, 4.656))
    assert (row.origins["sdd"], row.origins["mirrored"]) == ("user", "assumed")
    assert "Cios Fusion" in " ".join(row.notes)
    session.complete_by_calibration(filed, tmp_path / "camera.yaml")
    found = read_intrinsics(filed)
    assert (found.mirrored, found.size) == (True, (64, 64))
    np.testing.assert_allclose(found.matrix, camera.matrix, rtol=1e-9)
    with pytest.raises(InputError, match="No C-arm is called 'x'"):
        session.complete_by_c_arm(named, "x")
    with pytest.raises(InputError, match=r"gone\.yaml does not exist"):
        session.complete_by_calibration(filed, tmp_path / "gone.yaml")


def test_the_header_s_whole_geometry_places_an_x_ray(session, tmp_path):
    (dx, dy), (width, height) = CAMERA.spacing, CAMERA.size
    write_dicom_dx(tmp_path / "turned.dcm", np.zeros((height, width), np.uint16), CAMERA)
    dataset = pydicom.dcmread(tmp_path / "turned.dcm")
    dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = "20", "-5"
    dataset.PatientOrientation = ["R", "H"]  # upside down
    dataset.DetectorElementSpacing, dataset.FieldOfViewOrigin = [dy, dx], [0, 5]
    dataset.PhysicalDetectorSize = [height * dy, (width + 20) * dx]
    dataset.save_as(tmp_path / "turned.dcm")
    choose(session)
    node = add(session, [tmp_path / "turned.dcm"])[0]
    known = read_known(node)
    assert (known["mirrored"], known["rotation"]) == (True, 180)
    expected = header_pose(known, session._patient.center, session._patient.preset.sod)
    np.testing.assert_allclose(pose_from_node(node), expected, atol=1e-6)
    # The stored column of the ray that is perpendicular does not depend on how one looks at the image.
    stored = (width - 1) / 2 + 10 - 5
    assert known["principal_point"][0] == pytest.approx(width - 1 - stored)
    session.complete_geometry(node, mirrored=False)
    assert read_known(node)["principal_point"][0] == pytest.approx(stored)


def test_an_outcome_is_green_only_with_the_geometry_scale_and_place_that_it_was_found_for(session, files):
    choose(session)
    node = add(session, files[:1])[0]
    session.register()
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged"
    for now, before in (
        ({"mirrored": True}, {"mirrored": False}),
        ({"sdd": 1300.0}, {"sdd": CAMERA.sdd}),
        ({"spacing": (4.0, 5.0)}, {"spacing": CAMERA.spacing}),
        ({"dense_is_bright": False}, {"dense_is_bright": True}),
    ):
        session.complete_geometry(node, **now)
        row = row_of(session, node)
        assert (row.outcome, row.look) == ("geometry changed since; register again", "check"), now
        session.complete_geometry(node, **before)
        assert row_of(session, node).look == "converged"
    volume = session.parameters.volume
    for moved in (_shifted, _bent):
        moved(volume)
        row = row_of(session, node)
        assert (row.outcome, row.look) == ("the CT was moved since; register again", "check"), moved
        volume.SetAndObserveTransformNodeID(None)
        assert row_of(session, node).look == "converged"


@pytest.mark.parametrize("what", ["geometry", "volume"])
def test_a_result_for_what_is_no_longer_so_is_discarded_with_a_sentence(session, files, what):
    choose(session)
    node = add(session, files[:1])[0]
    pose = pose_from_node(node).copy()
    session.register()
    session.tick()
    assert row_of(session, node).state == "registering"
    if what == "geometry":
        session.complete_geometry(node, mirrored=True)
    else:
        _shifted(session.parameters.volume, 0.5)
    while session._registering.busy:
        session.tick()
    assert "changed meanwhile" in row_of(session, node).outcome
    assert read_registration(node) is None
    if what == "geometry":
        np.testing.assert_array_equal(pose_from_node(node), pose)
    session.wait(TIMEOUT)


def test_xrays_that_wait_are_never_registered_to_a_volume_that_is_chosen_later(session, files):
    choose(session)
    one = session.parameters.volume
    first, second = add(session, files)
    session.register()
    session.tick()
    choose(session, patient("other", flipped=True))
    assert session.parameters.xray is first
    assert session.can_refine() == "Choose an X-ray of the table."
    for do in (lambda: session.refine_from_here(first), lambda: session.register([first])):
        with pytest.raises(InputError, match="Not an X-ray of this CT: front"):
            do()
    session.parameters.volume = one
    session.wait(TIMEOUT)
    assert {volume_node_of(node) for node in (first, second)} == {one}
    assert row_of(session, first).look == "converged"
    assert "another CT was chosen" in row_of(session, second).outcome
    assert read_registration(second) is None


def test_an_xray_belongs_to_the_volume_that_was_chosen_when_it_was_added(session, files):
    choose(session)
    one = session.parameters.volume
    session.add_files(files[:1])
    choose(session, patient("other", flipped=True))
    assert session.rows() == []
    session.parameters.volume = one
    session.wait(TIMEOUT)
    assert [(row.name, volume_node_of(row.node)) for row in session.rows()] == [("front", one)]


@pytest.mark.parametrize("way", ["directly", "by none", "by deletion"])
def test_what_belongs_to_a_volume_goes_with_it_whichever_way_another_is_chosen(scene, way):
    p = Parameters()
    belongings = Belongings(SimpleNamespace(parameters=p))
    one, other = (add_volume(scene, patient()) for _ in range(2))
    belongings.bring(one)
    p.segmentation, p.targets = (
        scene.AddNewNodeByClass(name) for name in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsFiducialNode")
    )
    kept = p.segmentation, p.targets
    belongings.keep(one)
    if way == "by deletion":
        scene.RemoveNode(one)
    belongings.bring(other)
    assert (p.segmentation, p.targets) == (None, None)
    belongings.keep(other)
    if way != "by deletion":
        belongings.bring(one)
        assert (p.segmentation, p.targets) == kept


def test_an_xray_under_a_transform_that_is_not_linear_does_not_stop_the_others(session, files):
    view = slicer.vtkMRMLSliceNode()
    view.SetLayoutName("XVXray")
    view = session.scene.AddNode(view)
    view.SetDimensions(400, 300, 1)
    session.attach_view(view, session.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode"))
    targets = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    choose(session, segmentation=add_segmentation(session.scene, bones()), targets=targets)
    first, second = add(session, files)
    _bent(nodes_of(first).pose)
    session.wait(TIMEOUT)
    targets.AddControlPoint(5.0, 20.0, -40.0, "entry")
    session.parameters.preset = "thorax-pa"
    session.wait(TIMEOUT)
    assert second.GetNodeReference(PREFIX + "Targets").GetNumberOfControlPoints() == 1
    session.register()
    session.wait(TIMEOUT)
    assert [row_of(session, node).state for node in (first, second)] == ["failed", "registered"]
    session.show(second)
    session.wait(TIMEOUT)
    assert second.GetNodeReference(PREFIX + "Labels") is not None
    session.attach_view(None, None)


def test_a_part_that_fails_does_not_stop_the_others_and_its_error_is_raised(session, monkeypatch):
    called = []

    def fails():
        raise ValueError("defect")

    monkeypatch.setattr(session._patient, "tick", fails)
    monkeypatch.setattr(session._viewing, "tick", lambda: called.append("viewing"))
    with pytest.raises(ValueError, match="defect"):
        session.tick()
    assert called == ["viewing"]


def test_what_waits_is_given_up_when_the_engine_keeps_ending(session, files, monkeypatch):
    monkeypatch.setattr("XVRegistrationLib.panel.patient._RESTARTS", 0)
    choose(session)
    nodes = add(session, files)
    session.register()
    session.tick()
    session._context._engine._process.popen.kill()
    session.wait(TIMEOUT)
    assert not session.busy
    assert [row_of(session, node).state for node in nodes] == ["failed", "failed"]
    assert "ended several times" in session.can_register()
    volume, session.parameters.volume = session.parameters.volume, None
    session.tick()
    session.parameters.volume = volume
    session.wait(TIMEOUT)
    assert session.can_register() == ""


def test_names_of_an_earlier_segmentation_are_not_given_to_later_labels(session, files):
    choose(session, segmentation=add_segmentation(session.scene, bones()))
    node = add(session, files[:1])[0]
    labels, done = session._viewing._labels, []
    labels.project(node, lambda: done.append("earlier"))
    labels._names = dict(labels._names)  # as when another segmentation was taken
    session.wait(TIMEOUT)
    assert done == []
    labels.project(node, lambda: done.append("present"))
    session.wait(TIMEOUT)
    assert done == ["present"]


def test_an_xray_that_was_moved_while_another_was_shown_stays_when_the_preset_changes(session, files):
    choose(session)
    first, second = add(session, files)
    assert session.parameters.xray is first
    pose = pose_from_node(second).copy()
    pose[:3, 3] += [0.0, 7.0, 0.0]
    set_pose(nodes_of(second), pose)
    before = pose_from_node(first).copy()
    session.parameters.preset = "thorax-pa"
    session.wait(TIMEOUT)
    np.testing.assert_array_equal(pose_from_node(second), pose)
    assert not np.allclose(pose_from_node(first), before)


def test_a_model_that_is_ready_when_its_volume_has_gone_is_not_used(session, monkeypatch):
    session.parameters.volume = add_volume(session.scene, patient())
    tick_until(session, lambda: session.model_view().state == "preparing")
    monkeypatch.setattr(session._context, "cancel", lambda request: None)  # too late: the answer is on its way
    session.parameters.volume = None
    session.wait(TIMEOUT)
    assert not session._context.busy
    assert not session.model_view().ready
    assert "model is ready" not in session.status


def test_a_model_whose_card_cannot_be_read_is_a_problem_and_not_ready(session, monkeypatch):
    def unreadable(folder):
        raise InputError("The card is damaged.")

    monkeypatch.setattr("XVRegistrationLib.panel.model.read_card", unreadable)
    session.parameters.volume = add_volume(session.scene, patient())
    session.wait(TIMEOUT)
    assert not session.model_view().ready
    assert session.can_register() == "The card is damaged."
