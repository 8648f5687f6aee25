"""What a person decided on a registration: accepted, rejected, or open still, with a note."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

Decision = Literal["open", "accepted", "rejected"]
DECISIONS: tuple[Decision, ...] = ("open", "accepted", "rejected")
_COLUMNS = ("xray", "decision", "note")


@dataclass(frozen=True)
class Review:
    """The decision on one X-ray's pose. Who decided is not asked."""

    decision: Decision = "open"
    note: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-serialisable form; `review_of` is its inverse."""
        return {"decision": self.decision, "note": self.note}


def review_of(d: Any) -> Review:
    """The review in what was read from a file or a scene; an open one where there is none, or it is damaged."""
    if not isinstance(d, dict):
        return Review()
    return Review(_decision(d.get("decision")), str(d.get("note") or ""))


def read_reviews(path: str | os.PathLike[str]) -> dict[str, Review]:
    """X-ray's name -> review, of a CSV file with the columns xray, decision and note; InputError for anything else."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise InputError(f"{path} cannot be read as a table of reviews (CSV with {', '.join(_COLUMNS)}).") from e
    found: dict[str, Review] = {}
    for row in rows:
        found |= _row(row, path)
    return found


def _row(row: Mapping[str, str | None], path: str | os.PathLike[str]) -> dict[str, Review]:
    name, decision = (row.get("xray") or "").strip(), (row.get("decision") or "").strip().lower()
    if not name or decision not in DECISIONS:
        raise InputError(
            f"{path} is no table of reviews: each row needs xray and decision ({', '.join(DECISIONS)}), and may have a note."
        )
    return {name: Review(_decision(decision), (row.get("note") or "").strip())}


def _decision(value: Any) -> Decision:
    return next((decision for decision in DECISIONS if decision == value), "open")
