"""What of its file an X-ray shows: subtracted or not, a frame or what is made of all, and what of it does not count."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.dicom_files import grey
from Testing.Python.panel.patients import CAMERA, angiogram, dsa_run, filled_vessels, line_integrals, patient, pose_of
from Testing.Python.panel.sessions import TIMEOUT, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.runs import frame_of, item_of, run_of
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import all_xrays_in, name_of, nodes_of, pose_from_node, set_pose, xray_from_node

WINDOW = {"volumeValues": "vessels", "vesselsLow": 500.0, "vesselsHigh": 1300.0}
SAME = 4e-3
"""Of line integrals, after whole grey values."""


@pytest.fixture(scope="module")
def dsa(tmp_path_factory):
    return dsa_run(tmp_path_factory.mktemp("dsa") / "dsa.dcm")


def added(session, file, **options):
    session.add_files([file], **options)
    session.wait(TIMEOUT)
    return session.rows()[-1].node


def read_again(session, node, **how):
    session.read_again(node, **how)
    session.wait(TIMEOUT)


def pixels(node):
    return voxels(node)[0]


def test_for_vessels_a_run_that_names_its_mask_is_subtracted_by_itself_and_registered(session, dsa):
    choose(session, angiogram(), **WINDOW)
    node = added(session, dsa)
    row = row_of(session, node)
    assert row.source.subtracted
    assert "Its mask was subtracted" in "".join(session.log)
    assert (row.count, row.source.frames, frame_of(node)) == (3, 4, 1)  # frame 0 is the mask
    assert row.geometry.startswith("frame 1 of 0-3, subtracted, ")
    session.show_frame(node, 1)
    assert np.abs(pixels(node) - filled_vessels(0)).max() < SAME
    session.register([node])
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged", session.log
    assert error_of(node, 0) < 1.0


def test_for_a_ct_it_is_not_unless_it_is_asked_for(session, dsa):
    choose(session)
    node = added(session, dsa)
    assert not row_of(session, node).source.subtracted
    assert row_of(session, node).source.subtractable
    assert run_of(node).count == 4
    assert row_of(session, added(session, dsa, subtract=True)).source.subtracted


def test_for_vessels_what_names_no_mask_is_added_as_it_is_and_said_so(session, tmp_path):
    choose(session, angiogram(), **WINDOW)
    node = added(session, dsa_run(tmp_path / "plain.dcm", masks=False))
    assert not row_of(session, node).source.subtracted
    assert "It is not subtracted: it shows more than the vessels" in session.status
    with pytest.raises(InputError, match="names no mask frames"):
        session.read_again(node, subtract=True)
    assert "names no mask frames" in session.can_subtract(node)
    assert session.can_read_again(node) == ""


def test_an_xray_is_switched_there_and_back_and_stays_where_it_is(session, dsa):
    choose(session)
    node = added(session, dsa)
    session.complete_geometry(node, sdd=1010.0)
    session.show_frame(node, 2)
    plain, pose = pixels(node).copy(), pose_of(1)
    set_pose(nodes_of(node), pose)
    session.wait(TIMEOUT)
    read_again(session, node, subtract=True)
    assert (name_of(node), run_of(node).count, frame_of(node), item_of(node)) == ("dsa", 3, 2, 1)
    assert np.abs(pixels(node) - filled_vessels(0)).max() < SAME
    assert np.allclose(pose_from_node(node), pose)
    assert (xray_from_node(node).intrinsics.sdd, xray_from_node(node).scale) == (1010.0, "attenuation")
    assert row_of(session, node).origins["sdd"] == "user"
    session.show_frame(node, 0)
    assert not np.allclose(pose_from_node(node), pose)  # nobody has moved this frame
    session.show_frame(node, 1)
    read_again(session, node, subtract=False)
    assert (run_of(node).count, frame_of(node)) == (4, 2)
    assert np.array_equal(pixels(node), plain)
    assert np.allclose(pose_from_node(node), pose)
    assert len(session.rows()) == 1


@pytest.mark.parametrize(("how", "made"), [("min", np.min), ("max", np.max), ("mean", np.mean)])
def test_a_run_becomes_what_is_made_of_its_frames_and_a_run_again(session, dsa, how, made):
    choose(session)
    node = added(session, dsa)
    stored = np.stack([grey(0.5 * line_integrals(patient(), 0) + f * filled_vessels(0)) for f in (0, 0.5, 1, 0)])
    read_again(session, node, frame=how)
    assert run_of(node) is None
    assert np.allclose(pixels(node), made(stored, axis=0), atol=1.0)
    assert row_of(session, node).source.shown == how
    words = {"min": "least radiation", "max": "most radiation", "mean": "mean"}
    assert row_of(session, node).geometry.startswith(f"{words[how]} of 4 frames")
    read_again(session, node, frame=2)
    assert (run_of(node), frame_of(node)) == (None, 2)
    assert np.array_equal(pixels(node), stored[2])
    read_again(session, node, frame="run")
    assert (run_of(node).count, frame_of(node)) == (4, 2)
    for item in range(4):
        session.show_frame(node, item)
        assert np.array_equal(pixels(node), stored[item])
    classes = [session.scene.GetNthNode(i).GetClassName() for i in range(session.scene.GetNumberOfNodes())]
    assert classes.count("vtkMRMLSequenceBrowserNode") == 1


def test_what_was_found_in_other_pixels_is_forgotten_but_not_the_pose(session, dsa):
    choose(session)
    node = added(session, dsa, frame=0)
    session.register([node])
    session.wait(TIMEOUT)
    found = pose_from_node(node)
    assert read_registration(node) is not None
    read_again(session, node, frame=1)
    assert row_of(session, node).state == "ready"
    assert read_registration(node) is None
    assert np.allclose(pose_from_node(node), found)
    read_again(session, node, frame="run")
    for item in range(4):  # by its angles the C-arm has not moved
        session.show_frame(node, item)
        assert np.allclose(pose_from_node(node), found)


def test_a_mistake_leaves_the_xray_as_it_was(session, dsa, tmp_path):
    choose(session)
    node = added(session, dsa)
    before = pixels(node).copy()
    read_again(session, node, frame=9)
    assert "has no frame 9" in session.status
    assert np.array_equal(pixels(node), before)
    read_again(session, node, frame="min", file=dsa_run(tmp_path / "other.dcm"))
    assert "is not the file that dsa was read from" in session.status
    read_again(session, node, frame=0, subtract=True)  # the mask itself
    assert "mask of frame 0" in session.status
    assert "--" not in session.status
    assert (run_of(node).count, row_of(session, node).source.subtracted) == (4, False)


def test_a_scene_keeps_how_an_xray_was_read_and_not_where_its_file_is(session, dsa, tmp_path):
    choose(session, angiogram(), **WINDOW)
    node = added(session, dsa)
    session.ignore(node, [(10, 20, 30, 8)])
    session.show_frame(node, 1)
    shown = pixels(node).copy()
    session.wait(TIMEOUT)
    save_mrb(session.scene, tmp_path / "scene.mrb")
    session.set_parameters(None)
    session.scene.Clear(0)
    load_mrb(session.scene, tmp_path / "scene.mrb")
    [node] = all_xrays_in(session.scene)
    assert str(dsa.parent) not in "".join(node.GetAttribute(name) for name in node.GetAttributeNames())
    session.set_parameters(Parameters(volume=row_volume(session)))
    session.wait(TIMEOUT)
    row = row_of(session, node)
    assert (row.source.subtracted, row.source.shown, row.count) == (True, "run", 3)
    assert np.array_equal(pixels(node), shown)
    assert session.ignored(node) == [(10.0, 20.0, 30.0, 8.0)]
    assert session.file_of(node) is None
    with pytest.raises(InputError, match="no longer known where the file of dsa is"):
        session.read_again(node, subtract=False)
    read_again(session, node, subtract=False, file=dsa)
    assert run_of(node).count == 4
    assert session.file_of(node) == dsa


def row_volume(session):
    return session.scene.GetFirstNodeByName("angiogram")


def test_an_image_of_the_scene_has_no_file_to_read_again(session, files):
    import slicer.util

    choose(session)
    node = slicer.util.addVolumeFromArray(np.arange(70 * 78, dtype=np.float32).reshape(1, 70, 78), name="loose")
    session.add_nodes([node])
    session.wait(TIMEOUT)
    [row] = session.rows()
    assert row.source is None
    with pytest.raises(InputError, match="was added as an image"):
        session.read_again(row.node, frame="min")
    with pytest.raises(InputError, match="is no DICOM file"):
        raise_status(session, files[0])


def raise_status(session, file):
    session.add_files([file], subtract=True)
    session.wait(TIMEOUT)
    raise InputError(session.status)


def burned_in(tmp_path):
    """An X-ray of a patient on which somebody has drawn a bright box, as an image without a header."""
    image = line_integrals(patient(), 0)
    image[50:66, 4:40] = image.max() * np.linspace(0.6, 0.9, 36)
    stored = sitk.GetImageFromArray(image)
    stored.SetSpacing(CAMERA.spacing)
    path = tmp_path / "text.nrrd"
    sitk.WriteImage(stored, str(path))
    return path


def test_rectangles_do_not_count_stay_on_their_pixels_and_can_be_dragged(session, tmp_path):
    choose(session)
    node = added(session, burned_in(tmp_path))
    with pytest.raises(InputError, match="geometry"):
        session.ignore(node, [(4, 50, 36, 16)])
    session.complete_geometry(node, sdd=1000.0)
    session.ignore(node, [(4, 50, 36, 16)])
    for change in ({"sdd": CAMERA.sdd}, {"mirrored": True}, {"mirrored": False}):
        session.complete_geometry(node, **change)
        assert session.ignored(node) == [(4.0, 50.0, 36.0, 16.0)]
    session.show_steps(node)
    session.wait(TIMEOUT)
    shares = {reason: share for reason, _color, share in session.steps.left_out}
    assert shares["ignored"] == pytest.approx(36 * 16 / (70 * 78))
    session.register([node])
    session.wait(TIMEOUT)
    assert error_of(node, 0) < 1.0, session.log
    # Dragged by two columns, as a handle in the view does it.
    roi = node.GetNthNodeReference("XVRegistration.Ignored", 0)
    x, y, z = roi.GetCenter()
    roi.SetCenter(x + 2 * CAMERA.spacing[0], y, z)
    assert session.ignored(node) == [(6.0, 50.0, 36.0, 16.0)]
    session.scene.RemoveNode(roi)
    session.wait(TIMEOUT)
    assert row_of(session, node).ignored == 0
    session.ignore_another(node)
    assert row_of(session, node).ignored == 1
    for wrong, said in (([(0, 0, 0, 5)], "positive size"), ([(200, 0, 5, 5)], "lies beside")):
        with pytest.raises(InputError, match=said):
            session.ignore(node, wrong)
    session.ignore(node, [(0, 0, 78, 70)])
    session.register([node])
    session.wait(TIMEOUT)
    assert "leave nothing of it" in session.status
    session.remove(node)
    assert session.scene.GetFirstNodeByClass("vtkMRMLMarkupsROINode") is None


def test_the_steps_are_those_of_the_command(session, dsa):
    choose(session)
    node = added(session, dsa, frame=1)
    session.show_steps(node)
    assert session.steps is None
    session.wait(TIMEOUT)
    titles = [title for title, _image in session.steps.images]
    assert titles == [
        "as stored",
        "as understood: bright is radiation",
        "line integral, bright is dense",
        "what counts",
    ]
    stored, understood, integral = (image for _title, image in session.steps.images[:3])
    assert stored.shape == (70, 78)
    assert np.array_equal(stored, understood)
    assert np.corrcoef(stored.ravel(), integral.ravel())[0, 1] < -0.8
    assert session.steps.images[3][1].shape == (70, 78, 3)
    assert session.steps.name == "dsa-0001"
