"""An MR that gets the densities of its segmentation's structures, in a session."""

from __future__ import annotations

import numpy as np

from Testing.Python.panel.patients import bones, mr, write_xray
from Testing.Python.panel.sessions import TIMEOUT, add, chosen, error_of
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.scene.volumes import add_segmentation


def _fingerprint(session):
    return read_card(session.model_view().folder)["volume"]["fingerprint"]


def test_an_mr_renders_by_its_segmentation_and_follows_it(session, tmp_path):
    labels = bones()
    node = chosen(session, mr(), volumeValues="structures")
    assert "Choose the segmentation" in session.patient_view().problem
    assert "Choose the segmentation" in session.can_train()
    session.parameters.segmentation = segments = add_segmentation(session.scene, labels, node)
    session.wait(TIMEOUT)
    view = session.patient_view()
    assert (view.ok, view.kind) == (True, "densities")
    assert "4 structures" in view.check
    first = _fingerprint(session)
    # 648 HU is what Resources/densities.json has for bone.
    densities = Volume(np.where(labels.array > 0, 648, -1000).astype(np.int16), labels.ijk_to_ras)
    assert first == densities.fingerprint

    [xray] = add(session, [write_xray(tmp_path / "xray.nii.gz", densities, 0)])
    session.register([xray])
    session.wait(TIMEOUT)
    assert error_of(xray, 0) < 1.5

    # Another name is another density; one that has none is said, with names that have.
    segmentation = segments.GetSegmentation()
    segmentation.GetNthSegment(0).SetName("titanium screw")
    session.wait(TIMEOUT)
    assert _fingerprint(session) != first
    segmentation.GetNthSegment(0).SetName("thing")
    session.wait(TIMEOUT)
    problem = session.patient_view().problem
    assert "no density for the structure thing" in problem
    assert "bone, lung, fat" in problem
    segmentation.GetNthSegment(0).SetName("bone 1")
    session.wait(TIMEOUT)
    assert _fingerprint(session) == first

    # A table of one's own says it of all of them.
    session.parameters.densities = '{"bone*": 900}'
    session.wait(TIMEOUT)
    assert "by a table of your own" in session.patient_view().check
    own = Volume(np.where(labels.array > 0, 900, -1000).astype(np.int16), labels.ijk_to_ras)
    assert _fingerprint(session) == own.fingerprint
    session.parameters.densities = "900"
    session.wait(TIMEOUT)
    assert "is not a table of densities" in session.patient_view().problem


def test_the_engine_may_die_with_what_was_said(session):
    chosen(session, mr(), volumeValues="structures", segmentation=add_segmentation(session.scene, bones()))
    before, folder = session.patient_view().check, session.model_view().folder
    assert "Densities" in before
    engine = session._context._engine
    engine._process.popen.kill()
    engine._process.popen.wait()
    session.tick()
    session.wait(TIMEOUT)
    assert session.patient_view().check == before
    assert (session.model_view().folder, session.model_view().ready) == (folder, True)
