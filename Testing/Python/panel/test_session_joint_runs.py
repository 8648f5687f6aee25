"""Runs of several cameras that are registered together, frame by frame; the session alone."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.patients import patient, pose_of
from Testing.Python.panel.sessions import TIMEOUT, add, biplane_run, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.pairs import keep_calibrated_pose
from XVRegistrationLib.scene.results import REGISTRATION
from XVRegistrationLib.scene.run_results import frame_results
from XVRegistrationLib.scene.runs import frame_nodes, item_of
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import all_xrays_in, pose_from_node


def test_runs_recorded_together_are_registered_frame_by_frame(session, tmp_path):
    choose(session)
    nodes, first = biplane_run(session)
    relation = invert(pose_of(0)) @ pose_of(1)
    session.show(nodes[0])
    session.parameters.estimateGeometry = True
    assert "not of runs" in session.can_register_together()
    session.parameters.estimateGeometry = False
    assert (session.relation, session.can_register_together()) == ("calibration", "")

    # Cancelled after the first frame, that one keeps its result.
    shares: list[float] = []
    session.register_together()
    while session.registration_progress() is not None and len(frame_results(nodes[0])) and item_of(nodes[0]) == 0:
        shares.append(session.registration_progress())
        session.tick()
        time.sleep(0.01)
    assert shares == sorted(shares)
    assert 0 < max(shares) <= 1 / 3
    session.cancel_registration()
    session.wait(TIMEOUT)
    for node in nodes:
        assert [frame.registered for frame in frame_results(node)] == [True, False, False], session.log

    session.show_frame(nodes[0], 0)
    session.register_together()
    session.wait(TIMEOUT)
    results = [frame_results(node) for node in nodes]
    for k, truth in enumerate(first):
        a, b = (of_node[k] for of_node in results)
        assert np.abs(a.pose - truth).max() < 0.5, session.log
        np.testing.assert_allclose(b.pose, a.pose @ relation, atol=1e-3)
        assert (a.registered, a.verdict) == (b.registered, b.verdict) == (True, "converged")
    time.sleep(0.3)
    session.tick()
    table = session.plot_chart().GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert [table.GetValue(i, 0).ToDouble() for i in range(table.GetNumberOfRows())] == [0, 1, 2]
    kinds = {start["kind"] for start in json.loads(frame_nodes(nodes[1])[2].GetAttribute(REGISTRATION))["starts"]}
    assert "before" in kinds

    # All of it is in the saved scene.
    saved = save_mrb(session.scene, tmp_path / "runs.mrb")
    session.scene.Clear(0)
    session.tick()
    load_mrb(session.scene, saved)
    for node, of_node in zip(all_xrays_in(session.scene), results, strict=True):
        for before, after in zip(of_node, frame_results(node), strict=True):
            assert (after.registered, after.verdict) == (True, before.verdict)
            np.testing.assert_allclose(after.pose, before.pose, atol=1e-6)


def test_runs_of_different_lengths_are_refused_and_a_single_xray_goes_with_the_frame_that_is_shown(session, files):
    choose(session)
    nodes, first = biplane_run(session, (3, 2))
    assert "A has 3, B has 2" in session.can_register_together()
    with pytest.raises(InputError, match="as many frames each"):
        session.register_together()
    session.remove(nodes[1])
    [single] = [node for node in add(session, files[1:]) if node is not nodes[0]]
    keep_calibrated_pose(single, invert(first[1]) @ pose_of(1))
    session.show_frame(nodes[0], 1)
    for frame in frame_nodes(nodes[0]):
        keep_calibrated_pose(frame, np.eye(4))
    session.register_together([nodes[0], single])
    session.wait(TIMEOUT)
    assert [frame.registered for frame in frame_results(nodes[0])] == [False, True, False], session.log
    assert np.abs(pose_from_node(nodes[0]) - first[1]).max() < 0.5
    assert error_of(single, 1) < 0.5


def test_a_frame_that_has_no_pose_costs_only_itself_and_another_ct_ends_the_run(session):
    choose(session)
    nodes, first = biplane_run(session)
    slicer.util.arrayFromVolume(frame_nodes(nodes[1])[1])[:] = 0.0
    session.register_together()
    session.wait(TIMEOUT)
    assert [frame.registered for frame in frame_results(nodes[0])] == [True, False, True], session.log
    assert np.abs(frame_results(nodes[0])[2].pose - first[2]).max() < 0.5
    session.show_frame(nodes[0], 1)
    assert row_of(session, nodes[0]).state == row_of(session, nodes[1]).state == "failed"
    session.register_together()
    chosen = session.parameters.volume
    session.parameters.volume = add_volume(session.scene, patient("other", flipped=True))
    session.wait(TIMEOUT)
    assert session.registration_progress() is None
    session.parameters.volume = chosen
    session.wait(TIMEOUT)
    said = []
    for frame in range(3):
        session.show_frame(nodes[0], frame)
        said.append(row_of(session, nodes[0]).outcome)
    assert ["another CT was chosen" in text for text in said] == [False, True, False], said  # whose turn had not come
    assert any("another CT was chosen" in line or "changed meanwhile" in line for line in session.log)
