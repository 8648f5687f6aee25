"""The tutorial, followed word for word in the host; it downloads the sample's CT unless `make panel` has done so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[3]


def test_following_it_word_for_word_leads_to_a_signed_off_report(tmp_path):
    command = [sys.executable, "-m", "Testing.Host.tutorial", str(tmp_path / "out"), "--data", str(ROOT / ".demo-data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert report["signed_off"]
    assert [xray["group"] for xray in report["xrays"]] == ["accepted", "accepted"]
    assert all(xray["trust"]["verdict"] == "converged" for xray in report["xrays"])
    assert {target["name"] for target in report["xrays"][0]["targets"]} == {"T6", "T9", "T12", "heart"}
    assert (tmp_path / "out/registered/registrations.csv").is_file()
