"""Every row of the conformance table names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "Documentation" / "xrays.md").read_text("utf-8").partition("## Conformance")[2].partition("\n## ")[0]
ROWS = [[c.strip() for c in line.split("|")[1:-1]] for line in TABLE.splitlines() if line.startswith("| ")]
ROWS = [row for row in ROWS if row[0] != "kind of object"]


def test_there_is_a_table():
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_tests_of_a_row_are_there(row):
    assert len(row) == 3
    for part in row[2].split("; "):
        file, *names = re.findall(r"`([^`]+)`", part)
        text = (ROOT / "Testing" / "Python" / file).read_text("utf-8")
        for name in names:
            assert f"def test_{name}(" in text, f"{file} has no test_{name}"
