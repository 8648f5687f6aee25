"""What a registration says of itself, in the table, in a script's files and on the X-ray, until it no longer holds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near, registered
from Testing.Python.panel.patients import CAMERA, patient
from Testing.Python.panel.sessions import TIMEOUT, row_of
from XVRegistrationLib.panel.batch import record, register_folder
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.results import read_registration, write_registration
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import add_xray, pose_from_node, set_pose

CENTER = np.array([10.0, -20.0, 30.0])
REASON, WEAKEST = "Another pose explains the X-ray nearly as well.", "depth along the beam: +-6.2 mm (95 %)"


@pytest.fixture
def nodes(session):
    """An X-ray at the pose that its registration found."""
    nodes = add_xray(session.scene, make_xray("x", GEOMETRIES["mirrored"]), pose_near("AP", CENTER))
    keep(nodes)
    return nodes


def keep(nodes, verdict="check", scale=1.0, **changes):
    trust = {"verdict": verdict, "probability": 0.3, "reason": REASON, "weakest": WEAKEST}
    found = registered(nodes, CENTER, scale).to_dict() | {"similarity": 0.934, "trust": trust} | changes
    write_registration(nodes.xray, found)


@pytest.mark.parametrize("verdict", ["converged", "check", "failed"])
@pytest.mark.parametrize("similarity", [0.2, 0.99])
def test_a_row_says_the_verdict_in_words_and_look_whatever_the_similarity(session, nodes, verdict, similarity):
    keep(nodes, verdict, similarity=similarity)
    row = row_of(session, nodes.xray)
    assert (row.state, row.look) == ("registered", verdict)
    assert row.outcome == f"{verdict}, similarity {similarity:.2f}"
    assert row.hint.startswith(f"{REASON} The image says least about {WEAKEST}. ")


@pytest.mark.parametrize(
    "trust", [None, {"verdict": "good"}, {"verdict": "sure", "probability": 0, "reason": "", "weakest": ""}]
)
def test_an_older_result_is_not_believed_and_says_what_to_do(session, nodes, trust):
    keep(nodes, trust=trust)
    row = row_of(session, nodes.xray)
    assert (row.outcome, row.look) == ("registered, similarity 0.93; register again for a verdict", "check")


def test_the_verdict_is_that_of_the_pose_that_was_found(session, nodes):
    keep(nodes, "converged")
    pose = pose_from_node(nodes.pose)
    set_pose(nodes, pose_near("AP", CENTER + 2))
    row = row_of(session, nodes.xray)
    assert (row.outcome, row.look) == ("moved since; was registered, similarity 0.93", "check")
    assert REASON not in row.hint
    set_pose(nodes, pose)
    assert row_of(session, nodes.xray).look == "converged"


@pytest.mark.parametrize(("verdict", "ok"), [("converged", True), ("check", True), ("failed", False)])
def test_a_scripts_file_holds_the_verdict_and_is_not_ok_if_it_failed(nodes, verdict, ok):
    keep(nodes, verdict)
    said = json.loads(json.dumps(record(read_registration(nodes.xray), "x.dcm", "words")))
    expected = {"verdict": verdict, "reason": REASON, "weakest": WEAKEST, "ok": ok, "xray": "x.dcm", "outcome": "words"}
    assert said.items() >= expected.items()
    np.testing.assert_array_equal(said["pose"], pose_from_node(nodes.pose))


def test_a_folder_is_registered_with_verdicts(scene, root, files, tmp_path):
    volume = add_volume(scene, patient())
    outcomes = register_folder(volume, files[:1], tmp_path, sdd=CAMERA.sdd, root=root, timeout=TIMEOUT)
    found = json.loads((tmp_path / "front.json").read_text("utf-8"))
    assert found["verdict"] in ("converged", "check", "failed")
    assert found["ok"] == (found["verdict"] != "failed")
    assert outcomes == {"front.nii.gz": found["outcome"]}
    assert found["outcome"] == f"{found['verdict']}, similarity {found['similarity']:.2f}"
    assert "+-" in found["weakest"]


def test_ellipses_are_drawn_with_the_targets_and_vanish_when_the_c_arm_is_moved_by_hand(session, nodes):
    targets = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.AddControlPoint(*CENTER, "entry")
    session.parameters.targets = targets
    session.show(nodes.xray)
    session.tick()
    first = size_of(ellipses(nodes))
    assert first > 0
    targets.AddControlPoint(30.0, -15.0, -20.0, "exit")
    session.tick()
    assert ellipses(nodes).GetPolyData().GetNumberOfPoints() == 2 * 128
    set_pose(nodes, pose_near("AP", CENTER + 2))
    session.tick()
    assert ellipses(nodes) is None
    assert marks(nodes).GetNumberOfControlPoints() == 2
    assert marks(nodes).GetNthControlPointDescription(0) == ""
    keep(nodes, scale=4.0)
    targets.RemoveNthControlPoint(1)
    session._viewing.refresh(nodes.xray)  # as after a registration
    assert size_of(ellipses(nodes)) == pytest.approx(4 * first, rel=0.1)
    assert marks(nodes).GetNthControlPointDescription(0).startswith("depth +-")
    session.parameters.targets = None
    session.tick()
    assert (ellipses(nodes), marks(nodes)) == (None, None)


def ellipses(nodes):
    return nodes.xray.GetNodeReference(PREFIX + "Ellipses")


def marks(nodes):
    return nodes.xray.GetNodeReference(PREFIX + "Targets")


def size_of(model):
    bounds = model.GetPolyData().GetBounds()
    return bounds[1] - bounds[0]
