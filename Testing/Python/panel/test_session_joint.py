"""Several X-rays of one patient: registered together, shown side by side, and runs with their curves; the session alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.patients import CAMERA, bones, dsa_run, line_integrals, patient, pose_of
from Testing.Python.panel.sessions import TIMEOUT, add, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics, read_origins, write_known
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.run_results import frame_results
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose


@pytest.fixture
def pair(session, files):
    """Two X-rays with their distance, not yet registered."""
    choose(session)
    return add(session, files)


def test_without_xrays_and_without_a_relation_there_is_a_reason(session, files):
    session.tick()
    assert session.can_register_together() == "Choose the CT."
    assert [choice.name for choice in session.relations()] == ["calibration", "header", "registered"]
    choose(session)
    assert session.can_register_together() == "Add an X-ray."
    first, second = add(session, files)
    assert session.can_register_together([first]).startswith("Check two X-rays")
    assert "front, tilted" in session.can_register_together()
    for name, words in (("header", "angles of front, tilted"), ("registered", "Not registered where it stands: front")):
        session.parameters.relation = name
        assert words in session.can_register_together()
        with pytest.raises(InputError, match="front"):
            session.register_together()
    session.set_checked(second, False)
    assert session.can_register_together().startswith("Check two")
    session.parameters.relation = "nonsense"
    assert session.relation == "calibration"
    assert session.can_register_together([first, first]).startswith("Check two")


def test_calibrated_xrays_are_registered_together_and_share_one_verdict(session, pair, tmp_path):
    laboratory = increment(np.array([300.0, -100.0, 50.0, 0.4, -0.2, 0.9]), np.zeros(3))
    for number, node in enumerate(pair):
        file = tmp_path / f"{number}.txt"
        write_calibration(file, calibration_of(CAMERA, laboratory @ pose_of(number)), "mayacam2")
        session.complete_by_calibration(node, file)
    assert session.relation == "calibration"
    assert session.can_register_together() == ""
    session.register_together()
    assert {row.state for row in session.rows()} == {"registering"}
    assert session.can_register_together() == "Wait until the X-rays are registered."
    assert session.can_cancel_registration() == ""
    session.cancel_registration()
    assert {row.state for row in session.rows()} == {"ready"}
    session.register_together()
    session.wait(TIMEOUT)
    assert [error_of(node, number) < 0.5 for number, node in enumerate(pair)] == [True, True], session.log
    assert len({row.outcome.split(",")[0] for row in session.rows()}) == 1
    relative = np.linalg.inv(pose_from_node(pair[0])) @ pose_from_node(pair[1])
    np.testing.assert_allclose(relative, np.linalg.inv(pose_of(0)) @ pose_of(1), atol=1e-3)

    # Registered ones are a relation of their own, and the distance can be estimated with the pose.
    session.parameters.relation, session.parameters.estimateGeometry = "registered", True
    session.register_together()
    session.wait(TIMEOUT)
    for node in pair:
        assert Intrinsics.from_dict(read_registration(node)["intrinsics"]) == read_intrinsics(node)
        assert read_origins(node)["sdd"] == "estimated"
        assert abs(read_intrinsics(node).sdd - CAMERA.sdd) < 30
        assert row_of(session, node).state == "registered", row_of(session, node).outcome


def test_the_c_arms_angles_are_a_relation_and_what_is_removed_or_changed_is_dropped(session, pair):
    for node, angles in zip(pair, ((0.0, 0.0), (30.0, 5.0)), strict=True):
        write_known(
            node, {"primary_angle": angles[0], "secondary_angle": angles[1], "sod": 700.0}, {}, [], "attenuation"
        )
    session.parameters.relation = "header"
    assert session.can_register_together() == ""
    session.register_together()
    session.complete_geometry(pair[1], sdd=CAMERA.sdd + 20)
    session.wait(TIMEOUT)
    assert {row.state for row in session.rows()} == {"failed"}
    assert "changed meanwhile" in session.status
    session.register_together()
    session.remove(pair[0])
    session.wait(TIMEOUT)
    assert "was removed" in session.status
    assert [row.state for row in session.rows()] == ["ready"]


def _view(scene, name):
    view = slicer.vtkMRMLSliceNode()
    view.SetLayoutName(name)
    view = scene.AddNode(view)
    view.SetDimensions(400, 300, 1)
    return view, scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")


def test_a_second_xray_is_shown_beside_with_its_own_overlays_and_they_change_places(session, pair):
    first, second = pair
    session.parameters.segmentation = add_segmentation(session.scene, bones())
    (view, composite), (beside, other) = (_view(session.scene, name) for name in ("XVXray", "XVXray2"))
    session.attach_view(view, composite)
    session.attach_second_view(beside, other)
    session.wait(TIMEOUT)
    assert (session.beside, other.GetBackgroundVolumeID()) == (None, None)
    session.parameters.biplane = True
    for number, node in enumerate(pair):
        set_pose(nodes_of(node), pose_of(number))
    session.wait(TIMEOUT)
    assert session.beside is second
    assert (composite.GetBackgroundVolumeID(), other.GetBackgroundVolumeID()) == (first.GetID(), second.GetID())
    drr = slicer.util.arrayFromVolume(second.GetNodeReference(PREFIX + "Drr"))[0]
    assert np.corrcoef(drr.ravel(), line_integrals(patient(), 1).ravel())[0, 1] > 0.99
    for node, where in ((first, view), (second, beside)):
        labels = node.GetNodeReference(PREFIX + "Labels").GetDisplayNode()
        assert (labels.GetViewNodeIDs(), bool(labels.GetVisibility())) == ((where.GetID(),), True)

    session.show(second)
    session.wait(TIMEOUT)
    assert session.beside is first
    assert (composite.GetBackgroundVolumeID(), other.GetBackgroundVolumeID()) == (second.GetID(), first.GetID())
    for node, where in ((second, view), (first, beside)):
        labels = node.GetNodeReference(PREFIX + "Labels").GetDisplayNode()
        assert (labels.GetViewNodeIDs(), bool(labels.GetVisibility())) == ((where.GetID(),), True)
    with pytest.raises(InputError, match="Choose another X-ray"):
        session.show_beside(second)

    # What moved, and then came under a transform that no C-arm can be under, is not waited for.
    scaled = session.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "scaled")
    scaled.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1.0, 1.0, 1.0])))
    for node in pair:
        set_pose(nodes_of(node), pose_of(0))
    session.tick()
    for node in pair:
        nodes_of(node).pose.SetAndObserveTransformNodeID(scaled.GetID())
    session.wait(TIMEOUT)
    assert "not a rigid transform" in session.status
    session.remove(first)
    session.wait(TIMEOUT)
    assert (session.beside, other.GetBackgroundVolumeID()) == (None, None)
    assert session.can_show_beside() == "Add a second X-ray."
    session.attach_view(None, None)
    session.attach_second_view(None, None)


def test_a_run_has_curves_of_its_poses_and_each_frame_is_reviewed_by_itself(session, tmp_path):
    choose(session)
    session.add_files([dsa_run(tmp_path / "run.dcm")])
    session.wait(TIMEOUT)
    node = session.rows()[0].node
    assert (session.run_view().count, session.run_view().converged) == (4, 0)
    assert session.plot_chart() is None
    session.register_run(node)
    session.wait(TIMEOUT)
    time.sleep(0.3)
    session.tick()
    frames = frame_results(node)
    assert [frame.registered for frame in frames] == [True] * 4, session.log
    assert np.abs(frames[0].pose - pose_of(0)).max() < 1.0  # the contrast medium of the next is not in the CT
    assert len({frame.pose.tobytes() for frame in frames}) > 1
    view = session.run_view()
    assert view.converged + view.check + view.failed == 4

    session.show_frame(node, 0)
    session.review(node, "accepted")
    session.show_frame(node, 1)
    assert session.review_of(node).decision == "open"
    session.review(node, "rejected", "contrast")
    session.show_frame(node, 2)
    moved = pose_from_node(node).copy()
    moved[:3, 3] += 4.0
    set_pose(nodes_of(node), moved)
    session.show_frame(node, 0)
    session.wait(TIMEOUT)
    assert (session.review_of(node).decision, session.review_of(node).note) == ("accepted", "")
    frames = frame_results(node)
    assert [frame.review for frame in frames] == ["accepted", "rejected", "open", "open"]
    assert [frame.registered for frame in frames] == [True, True, False, True]
    time.sleep(0.3)
    session.tick()
    view = session.run_view()
    assert (view.item, view.accepted, view.rejected, view.converged + view.check + view.failed) == (0, 1, 1, 3)

    chart = session.plot_chart()
    names = [chart.GetNthPlotSeriesNode(i).GetName() for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names[:6] == ["right (mm)", "down (mm)", "depth (mm)", "tilt (degrees)", "swing (degrees)", "turn (degrees)"]
    table = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert [table.GetValue(i, 0).ToDouble() for i in range(table.GetNumberOfRows())] == [0, 1, 3]
    session.show_next_frame()
    assert item_of(node) == 2
    shown = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLPlotChartNode", session.scene)]
    assert shown == ["Poses of the frames"]
    session.remove(node)
    session.wait(TIMEOUT)
    assert session.plot_chart() is None
    assert session.run_view() is None
    assert not slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode", session.scene)
    assert session.can_show_next_frame() == "Show a run."
