"""What the library says to be shown in the panel is known there, and so can be translated."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.evaluation.reported_run import ReportedFrame, ReportedRun
from XVRegistrationLib.evaluation.xray_report import ReportedXray, XrayReport, status_sentences
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.anatomies import load_presets
from XVRegistrationLib.panel import words
from XVRegistrationLib.registration import verdict
from XVRegistrationLib.registration.result import VERDICTS, PoseUncertainty, Registration
from XVRegistrationLib.registration.review import Review
from XVRegistrationLib.registration.uncertainty import weakest_freedom


@pytest.fixture(autouse=True)
def language(monkeypatch):
    """A language whose every sentence is the English one in brackets."""
    monkeypatch.setattr(words, "tr", lambda text: f"<{text}>")


def _uncertainty(worst):
    return PoseUncertainty(np.zeros(3), np.diag(np.where(np.arange(6) == worst, 1.0, 1e-6)), np.zeros((6, 6)))


def test_every_title_of_a_preset_is_translated():
    for preset in load_presets().values():
        assert words.translated(preset.title) == f"<{preset.title}>"


def test_every_reason_of_a_verdict_is_translated_and_so_is_the_doubt_in_it():
    evidence = {name: weight["mean"] for name, weight in verdict.calibration()["weights"].items()}
    found = evidence, _uncertainty(0), np.eye(4)
    said = [
        verdict.trust_in(*found, unseen=["front", "tilted"]).reason,
        verdict.trust_in(*found, uncalibrated=verdict.SURROUNDED).reason,
        verdict.trust_in(*found, uncalibrated="structures by themselves").reason,
        verdict.trust_in(*found, disagreement_mm=3.25).reason,
        *(verdict._reason(v, worst) for v in VERDICTS for worst in evidence),
    ]
    for reason in said:
        translated = words.translated(reason)
        assert translated.startswith("<"), reason
        assert translated.replace("<", "").replace(">", "") == reason
    assert words.translated(said[0]).endswith("falls on front and tilted there.>")
    assert all(words.translated(reason).count("<") == 2 for reason in said if "Look at the overlay" in reason)


def test_each_freedom_that_may_be_known_least_is_translated_with_its_number():
    freedoms = [weakest_freedom(_uncertainty(axis), np.eye(4)) for axis in range(6)]
    assert len(set(freedoms)) == 6
    for freedom in [*freedoms, "depth +-13.5 mm (95 %)"]:
        assert words.translated(freedom) == f"<{freedom}>"


def test_the_line_of_a_report_is_translated_but_not_the_names_in_it():
    def line(*decisions, run=None):
        xrays = tuple(ReportedXray(f"open {i}", None, Review(d, ""), run=run) for i, d in enumerate(decisions))
        return " ".join(map(words.translated, status_sentences(XrayReport(xrays, (), np.zeros(3), {}))))

    assert line("rejected") == "<1 X-ray: <1 rejected>. Signed off: every X-ray was accepted or rejected.>"
    left = "Not signed off: to be decided are open 1, open 2."
    assert line("rejected", "open", "open") == f"<3 X-rays: <2 without a pose>, <1 rejected>. {left}>"
    found = Registration(
        "open 0", np.eye(4), Intrinsics(1000.0, (1.0, 1.0), (4.0, 4.0), (9, 9), False), 0.9, 1.0, "bank"
    )
    for count, others in ((2, "1 other registered frame is open"), (3, "2 other registered frames are open")):
        run = ReportedRun(tuple(ReportedFrame(i, found, Review()) for i in range(count)), shown=0)
        frames = f"<Of runs this is about the frame shown; {others}.>"
        assert line("rejected", run=run) == f"{line('rejected')} {frames}"
        assert line("open", run=run) == f"{line('open')} {frames}"


def test_a_sentence_that_is_not_known_stays_as_it_is():
    assert words.translated("front.dcm is no X-ray: a CT, it seems.") == "front.dcm is no X-ray: a CT, it seems."
    assert words.translated("") == ""
