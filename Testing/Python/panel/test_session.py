"""What the panel does, without widgets: a real scene on slicer-core, the real engine, small patients."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.patients import CAMERA, bones, line_integrals, patient, pose_of
from Testing.Python.panel.sessions import TIMEOUT, add, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose


def test_without_a_volume_every_button_says_what_is_to_be_done(session):
    session.tick()
    assert session.patient_view().problem == "Choose the CT."
    assert session.can_register() == session.can_train() == session.can_refine() == "Choose the CT."
    assert session.can_cancel_registration() == "Nothing is being registered."
    assert session.can_cancel_training() == "No training is under way."
    with pytest.raises(InputError, match=r"Choose the CT\."):
        session.register()
    assert not session.busy


def test_an_empty_and_a_one_slice_volume_are_refused_with_a_sentence_and_the_session_goes_on(session):
    session.parameters.volume = session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    session.wait(TIMEOUT)
    assert "new" in session.patient_view().problem
    assert session.can_register() == session.patient_view().problem
    flat = session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "flat")
    slicer.util.updateVolumeFromArray(flat, np.zeros((1, 8, 8), np.float32))
    session.parameters.volume = flat
    session.wait(TIMEOUT)
    assert "flat" in session.patient_view().problem
    session.parameters.volume = None
    session.tick()
    assert session.patient_view().problem == "Choose the CT."


def test_from_a_volume_to_registered_xrays_with_everything_drawn_on_them(session, files):
    targets = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.AddControlPoint(5.0, 20.0, -40.0, "entry")
    segmentation = add_segmentation(session.scene, bones(3))
    choose(session, segmentation=segmentation, targets=targets)
    view = session.patient_view()
    assert (view.name, view.kind, view.ok, view.problem) == ("patient", "CT", True, "")
    assert view.markers == {"left": "R", "right": "L", "top": "H", "bottom": "F"}
    assert view.image.dtype == np.uint8
    assert view.image.max() > view.image.min()

    session.add_files(files)
    session.wait(TIMEOUT)
    rows = session.rows()
    assert [(row.name, row.state, row.missing) for row in rows] == [
        ("front", "incomplete", ("sdd",)),
        ("tilted", "incomplete", ("sdd",)),
    ]
    assert rows[0].origins["spacing"] == "tag"
    assert session.can_register() == "Enter the geometry of the X-rays."
    first, second = (row.node for row in rows)
    session.complete_geometry(first, sdd=CAMERA.sdd)
    session.wait(TIMEOUT)
    assert (row_of(session, first).state, row_of(session, first).origins["sdd"]) == ("ready", "user")
    assert row_of(session, first).look == "unknown"
    assert session.parameters.xray is first

    session.register()
    states = {row_of(session, first).state}
    session.tick()
    states.add(row_of(session, first).state)
    assert states & {"queued", "registering"}
    session.wait(TIMEOUT)
    row = row_of(session, first)
    assert (row.state, row.look) == ("registered", "converged"), row.outcome
    assert error_of(first, 0) < 1.0
    assert row_of(session, second).state == "incomplete"
    found = read_registration(first)
    assert found["similarity"] > 0.9
    np.testing.assert_allclose(found["pose"], pose_from_node(first), atol=1e-9)

    references = {part: first.GetNodeReference(PREFIX + part) for part in ("Drr", "Labels", "Targets")}
    assert None not in references.values()
    labels = references["Labels"].GetSegmentation()
    names = [labels.GetNthSegment(i).GetName() for i in range(labels.GetNumberOfSegments())]
    assert sorted(names) == ["bone 1", "bone 2", "bone 3"]
    drr = slicer.util.arrayFromVolume(references["Drr"])[0]
    xray = line_integrals(patient(), 0)
    assert np.corrcoef(drr.ravel(), xray.ravel())[0, 1] > 0.99
    assert references["Targets"].GetNumberOfControlPoints() == 1

    targets.AddControlPoint(30.0, -15.0, -20.0, "exit")
    session.tick()
    assert references["Targets"].GetNumberOfControlPoints() == 2


def test_the_drr_and_the_labels_follow_the_pose_and_moving_is_told_from_registering(session, files):
    choose(session, segmentation=add_segmentation(session.scene, bones()))
    node = add(session, files[:1])[0]
    nodes = nodes_of(node)
    drr = node.GetNodeReference(PREFIX + "Drr")
    before = slicer.util.arrayFromVolume(drr).copy()
    set_pose(nodes, pose_of(0))
    session.wait(TIMEOUT)
    assert node.GetNodeReference(PREFIX + "Drr") is drr
    after = slicer.util.arrayFromVolume(drr)
    assert np.corrcoef(after.ravel(), line_integrals(patient(), 0).ravel())[0, 1] > 0.99
    assert not np.array_equal(before, after)
    assert node.GetNodeReference(PREFIX + "Labels") is not None

    session.refine_from_here()
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged"
    assert read_registration(node)["winner"] == "current"
    shifted = pose_from_node(node).copy()
    shifted[:3, 3] += [5.0, 0.0, 0.0]
    set_pose(nodes, shifted)
    session.wait(TIMEOUT)
    assert row_of(session, node).outcome.startswith("moved since")


def test_live_drrs_are_drawn_while_the_pose_keeps_moving(session, files):
    choose(session)
    node = add(session, files[:1])[0]
    nodes, drr = nodes_of(node), node.GetNodeReference(PREFIX + "Drr")
    drawn = set()
    for step in range(200):
        pose = pose_of(0).copy()
        pose[0, 3] += 0.2 * step
        set_pose(nodes, pose)
        session.tick()
        drawn.add(slicer.util.arrayFromVolume(drr).tobytes())
        time.sleep(0.005)
        if len(drawn) > 4:
            break
    assert len(drawn) > 4
    session.parameters.liveDrr = False
    session.wait(TIMEOUT)


def test_the_current_xray_is_shown_in_its_view_and_the_view_follows_what_is_chosen(session, files):
    view = slicer.vtkMRMLSliceNode()
    view.SetLayoutName("XVXray")
    view = session.scene.AddNode(view)
    view.SetDimensions(400, 300, 1)
    composite = session.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    session.attach_view(view, composite)
    choose(session, segmentation=add_segmentation(session.scene, bones()))
    session.add_files(files)
    session.wait(TIMEOUT)
    first, second = (row.node for row in session.rows())
    assert composite.GetBackgroundVolumeID() == first.GetID()  # also without a geometry
    session.complete_geometry(first, sdd=CAMERA.sdd)
    session.parameters.blend = 0.25
    session.wait(TIMEOUT)
    assert composite.GetForegroundVolumeID() == first.GetNodeReferenceID(PREFIX + "Drr")
    assert composite.GetForegroundOpacity() == 0.25
    labels = first.GetNodeReference(PREFIX + "Labels").GetDisplayNode()
    assert labels.GetViewNodeIDs() == (view.GetID(),)
    session.parameters.showLabels = session.parameters.showOutlines = False
    session.tick()
    assert not labels.GetVisibility()
    session.show(second)
    session.tick()
    assert composite.GetBackgroundVolumeID() == second.GetID()
    assert [row.current for row in session.rows()] == [False, True]
    session.remove(first)
    session.remove(second)
    session.tick()
    assert composite.GetBackgroundVolumeID() is None
    session.scene.RemoveNode(view)
    session.tick()
    session.attach_view(None, None)


def test_an_xray_with_angles_starts_at_the_pose_that_its_header_states(session, files):
    choose(session)
    node = add(session, files[:1])[0]
    at_preset = pose_from_node(node).copy()
    node.SetAttribute(PREFIX + "PrimaryAngle", "180.0")  # the source in front of the patient
    node.SetAttribute(PREFIX + "SecondaryAngle", "0.0")
    session.parameters.preset = "thorax-pa"
    session.wait(TIMEOUT)
    header = pose_from_node(node).copy()
    # Seen from the same side, with columns the other way round: the mirrored picture of the same view.
    np.testing.assert_allclose(header[:3, 3], at_preset[:3, 3], atol=1e-6)
    np.testing.assert_allclose(header[:3, 2], at_preset[:3, 2], atol=1e-6)
    session.parameters.useBank = session.parameters.useNetwork = False
    session.register()
    session.wait(TIMEOUT)
    assert [s["kind"] for s in read_registration(node)["starts"]] == ["header", "header, shifted"]


def test_the_nominal_view_is_tried_where_the_patient_lies_as_well(session, files):
    """12 px beside where the nominal view shows him, which are 41 mm at his depth."""
    choose(session)
    node = add(session, files[:1])[0]
    pixels = np.roll(slicer.util.arrayFromVolume(node), (0, 12), (1, 2))
    slicer.util.updateVolumeFromArray(node, pixels)
    session.parameters.useBank = session.parameters.useNetwork = session.parameters.useHeader = False
    session.parameters.usePreset = True
    session.register()
    session.wait(TIMEOUT)
    found = read_registration(node)
    kinds = [s["kind"] for s in found["starts"]]
    assert kinds == ["preset", "preset, shifted"]
    plain, shifted = (invert(np.array(s["pose"])) for s in found["starts"])
    moved = (shifted - plain)[:3, 3]
    # He lay 10 mm to the other side before; a pixel of the bank is 8 mm.
    assert moved[0] == pytest.approx(41 - 10, abs=8)
    assert abs(moved[2]) < 1e-6


def test_registering_is_cancelled_and_the_pose_stays(session, files):
    choose(session)
    nodes = add(session, files)
    before = [pose_from_node(node).copy() for node in nodes]
    session.register()
    session.tick()
    assert session.can_cancel_registration() == ""
    assert session.registration_progress() is not None
    session.cancel_registration()
    session.wait(TIMEOUT)
    assert session.registration_progress() is None
    assert [row_of(session, node).state for node in nodes] == ["ready", "ready"]
    for node, pose in zip(nodes, before, strict=True):
        np.testing.assert_array_equal(pose_from_node(node), pose)


def test_only_checked_xrays_are_registered_and_no_kind_of_start_is_an_obstacle(session, files):
    choose(session)
    first, second = add(session, files)
    session.set_checked(first, False)
    session.register()
    session.wait(TIMEOUT)
    assert [row_of(session, node).state for node in (first, second)] == ["ready", "registered"]
    session.set_checked(second, False)
    assert session.can_register() == "Check the X-rays that are to be registered."
    session.set_checked(second, True)
    session.parameters.useBank = session.parameters.useNetwork = session.parameters.useHeader = False
    assert session.can_register() == "Choose at least one kind of start."
    session.parameters.useNetwork = True
    assert "bank" in session.can_register()


@pytest.mark.parametrize("what", ["image", "pose", "frustum"])
def test_a_node_that_is_deleted_while_it_is_registered_is_no_error(session, files, what):
    choose(session)
    first, second = add(session, files)
    nodes = nodes_of(first)
    session.register()
    session.tick()
    assert row_of(session, first).state == "registering"
    session.scene.RemoveNode({"image": first, "pose": nodes.pose, "frustum": nodes.frustum}[what])
    session.wait(TIMEOUT)
    assert row_of(session, second).state == "registered"
    if what == "image":
        assert "was removed" in "".join(session.log)
        assert len(session.rows()) == 1
        left = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLTransformableNode") if "front" in n.GetName()]
        assert left == []
    else:
        assert nodes_of(first) is not None


def test_removing_an_xray_leaves_nothing_of_it_and_shows_the_next(session, files):
    choose(session)
    first, second = add(session, files)
    before = {session.scene.GetNthNode(i).GetID() for i in range(session.scene.GetNumberOfNodes())}
    assert session.parameters.xray is first
    session.remove(first)
    session.wait(TIMEOUT)
    assert session.parameters.xray is second
    assert [row.node for row in session.rows()] == [second]
    names = [session.scene.GetNthNode(i).GetName() or "" for i in range(session.scene.GetNumberOfNodes())]
    assert not [name for name in names if "front" in name]
    assert before


def test_a_plain_image_of_the_scene_is_copied_and_stays_as_it_is(session):
    choose(session)
    plain = session.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fluoro")
    pixels = np.exp(-line_integrals(patient(), 1))[None]
    slicer.util.updateVolumeFromArray(plain, pixels)
    assert session.candidates() == [plain]
    session.add_nodes([plain])
    session.wait(TIMEOUT)
    [row] = session.rows()
    assert row.missing == ("sdd", "spacing")
    assert row.node is not plain
    session.complete_geometry(row.node, sdd=CAMERA.sdd, spacing=CAMERA.spacing, dense_is_bright=False)
    session.register()
    session.wait(TIMEOUT)
    assert row_of(session, row.node).look == "converged"
    assert error_of(row.node, 1) < 1.0
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(plain), pixels)
    assert plain.GetParentTransformNode() is None
    assert session.candidates() == [plain]
    with pytest.raises(InputError, match="is not an X-ray"):
        session.add_nodes([session.parameters.volume])


def test_wrong_values_and_files_are_sentences(session, files, tmp_path):
    choose(session)
    node = add(session, files[:1])[0]
    with pytest.raises(InputError, match="between 100"):
        session.complete_geometry(node, sdd=-5.0)
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(b"no image")
    session.add_files([damaged, tmp_path / "gone.png", *files[1:]])
    session.wait(TIMEOUT)
    assert [row.name for row in session.rows()] == ["front", "tilted"]
    assert "damaged.dcm" in "".join(session.log)
    assert "gone.png" in "".join(session.log)
