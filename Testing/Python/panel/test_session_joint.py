"""Several X-rays of one patient: registered together, shown side by side, and runs with their curves; the session alone."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.panel.patients import CAMERA, pose_of
from Testing.Python.panel.sessions import TIMEOUT, add, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.scene.attributes import read_intrinsics, read_origins, write_known
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.xrays import pose_from_node


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
