"""A run in a report: what is known of all its frames, in as few lines as say it."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.evaluation.page import table_html
from XVRegistrationLib.evaluation.report_table import verdict_in_words
from XVRegistrationLib.registration.export_table import record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.registration.review import Review

_UNKNOWN = "–"
_NOT_REGISTERED = "not registered"
_CAPTION = (
    "How far what is seen moved since the first registered frame: mm, and degrees. Marks below: blue, round: converged; orange, "
    "a diamond: check; red, a cross: failed (bars in these colours where there is no room). The upright line is the frame shown; frames without a pose, or rejected, are left out."
)


@dataclass(frozen=True, eq=False)
class ReportedFrame:
    """A frame of a run."""

    number: int
    """Counted from 0."""
    registration: Registration | None
    """None where there is no pose that holds."""
    review: Review

    @property
    def stated(self) -> Registration | None:
        """The registration of which more is said than its verdict: not one that was rejected."""
        return None if self.review.decision == "rejected" else self.registration


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """All frames of a run, in their order."""

    frames: tuple[ReportedFrame, ...]
    shown: int
    """The number of the one whose picture is in the report."""
    curves: bytes = b""
    """How the pose changes over them, a JPEG file."""

    @property
    def open(self) -> int:
        """How many registered frames nobody has decided on, without the one that is shown."""
        others = (frame for frame in self.frames if frame.number != self.shown)
        return sum(frame.registration is not None and frame.review.decision == "open" for frame in others)


@dataclass(frozen=True, eq=False)
class Curves:
    """What the curves of a run are drawn of, as `run_curves.run_curves` takes it."""

    numbers: list[int]
    poses: list[NDArray[np.float64] | None]
    verdicts: list[str]
    shown: int
    mirrored: bool


def curves_of(run: ReportedRun) -> Curves | None:
    """What the curves of a run are drawn of, without frames that were rejected; None where no pose is left."""
    stated = [frame.stated for frame in run.frames]
    first = next((found for found in stated if found is not None), None)
    if first is None:
        return None
    poses = [None if found is None else found.pose for found in stated]
    verdicts = ["" if found is None else found.verdict for found in stated]
    return Curves([frame.number for frame in run.frames], poses, verdicts, run.shown, first.intrinsics.mirrored)


def run_in_words(run: ReportedRun) -> str:
    """How many frames there are of each kind, a sentence."""
    states = [_state(frame) for frame in run.frames]
    kinds = ("converged", "check", "failed", "no verdict", _NOT_REGISTERED)
    words = [f"{states.count(kind)} {kind}" for kind in kinds if kind in states]
    decisions = [frame.review.decision for frame in run.frames]
    words += [f"{decisions.count(kind)} {kind}" for kind in ("accepted", "rejected") if kind in decisions]
    return f"{len(run.frames)} frames: {', '.join(words)}. Frame {run.shown} is the one that was chosen to be shown."


def run_table(run: ReportedRun) -> str:
    """The verdicts of all frames as a table of a page; successive ones that are alike are one row."""
    lines = []
    for (state, decision, note), frames in groupby(run.frames, lambda f: (_state(f), f.review.decision, f.review.note)):
        alike = list(frames)
        first, last = alike[0].number, alike[-1].number
        risks = [100 * f.stated.trust.probability for f in alike if f.stated is not None and f.stated.trust is not None]
        risk = f"{max(risks):.0f} %" if risks and max(risks) >= 1 else "< 1 %" if risks else _UNKNOWN
        decided = _UNKNOWN if state == _NOT_REGISTERED and decision == "open" else decision
        lines.append([str(first) if first == last else f"{first} to {last}", state, decided, risk, note])
    return table_html(["frames", "verdict", "review", "P(error > 2 mm), at most", "note"], lines, of_words=True)


def run_html(run: ReportedRun, curves: str) -> str:
    """All that is said of a run's frames; `curves` is the picture of them in HTML, or nothing."""
    picture = "" if not curves else f'<p>{curves}<br><span class="caption">{html.escape(_CAPTION)}</span></p>'
    return f"<p>{html.escape(run_in_words(run))}</p>{picture}{run_table(run)}"


def run_dict(run: ReportedRun, targets: tuple[Target, ...]) -> dict[str, Any]:
    """JSON-serialisable: every frame with its verdict, review and, unless it was rejected, pose and targets."""
    return {"shown": run.shown, "frames": [_frame_dict(frame, targets) for frame in run.frames]}


def _frame_dict(frame: ReportedFrame, targets: tuple[Target, ...]) -> dict[str, Any]:
    found = frame.stated
    entry: dict[str, Any] = {"frame": frame.number, "state": _state(frame), "review": frame.review.to_dict()}
    if found is None:
        return {**entry, "pose": None}
    usable = found.verdict != "failed" or frame.review.decision == "accepted"
    return {**record(dataclasses.replace(found, name=str(frame.number)), targets if usable else ()), **entry}


def _state(frame: ReportedFrame) -> str:
    return _NOT_REGISTERED if frame.registration is None else verdict_in_words(frame.registration)
