"""What came of the cases of a cohort, as rows: one for each X-ray, and for each case that has none."""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.metrics import wilson_interval
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.angles import angles_of, pose_from_angles
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.registration.result import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.result import Registration

DONE, REFUSED = "done", "refused"
"""A case whose X-rays were all tried, and one that could not even begin, or did not come to an end."""
_CASE_COLUMNS = (
    "case",
    "state",
    "xrays",
    *VERDICTS,
    "without_pose",
    "median_probability",
    "worst_probability",
    "worst_xray",
    "seconds",
    "reason",
)


@dataclass(frozen=True)
class XrayRow:
    """One X-ray of a case."""

    name: str
    """The case's, with the number of the X-ray and of its frame where there are several."""
    number: int
    """Of its file among those of the case, from 1."""
    frame: int | None = None
    """Of a file with several, from 0."""
    verdict: str = "failed"
    """"converged", "check" or "failed"."""
    reason: str = ""
    """Of the verdict, or why there is no pose; a sentence."""
    weakest: str = ""
    """What the image says least about."""
    probability: float | None = None
    """That the mTRE is above 2 mm."""
    similarity: float | None = None
    """None where there is no pose."""
    seconds: float | None = None
    primary_deg: float | None = None
    """The detector's angle to the patient's left (LAO); negative: to the right (RAO)."""
    secondary_deg: float | None = None
    """The detector's angle to the patient's head (CRA); negative: to the feet (CAU)."""
    in_plane_deg: float | None = None
    """By which the detector is turned about the beam, against one whose rows run to the feet."""
    x_mm: float | None = None
    """Where the isocentre lies from the detector's axis, along the camera's x."""
    y_mm: float | None = None
    """Likewise along its y."""
    depth_mm: float | None = None
    """From the source to the isocentre, along the axis."""
    sid_mm: float | None = None
    """Distance source-detector."""
    result: str = ""
    """File of the result, relative to the cohort's folder."""
    picture: str = ""
    """Likewise; empty without one."""


@dataclass(frozen=True)
class CaseOutcome:
    """One case."""

    case: str
    state: str
    """DONE or REFUSED."""
    reason: str = ""
    """Why it was refused, in one sentence."""
    xrays: tuple[XrayRow, ...] = ()
    kept: bool = False
    """Whether it is an earlier run's."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(d: dict[str, Any]) -> CaseOutcome:
        """Inverse of `to_dict`; raises ValueError, TypeError or KeyError for anything else."""
        return CaseOutcome(
            str(d["case"]),
            str(d["state"]),
            str(d["reason"]),
            tuple(XrayRow(**row) for row in d["xrays"]),
            bool(d.get("kept", False)),
        )


@dataclass(frozen=True)
class CohortSummary:
    """Counts and medians."""

    cases: int
    refused: int
    xrays: int
    converged: int
    check: int
    failed: int
    converged_95: tuple[float, float]
    """95 % interval of the share that converges (Wilson)."""
    median_similarity: float | None
    median_seconds: float | None
    quartiles: dict[str, tuple[float, ...]]
    """Of each pose parameter over the poses that did not fail: a quarter, half and three quarters are below; as `parameter`."""


PARAMETERS = {
    "primary_deg": "LAO (+) / RAO (-), degrees",
    "secondary_deg": "CRA (+) / CAU (-), degrees",
    "in_plane_deg": "turned in plane, degrees",
    "x_mm": "isocentre beside the axis, x, mm",
    "y_mm": "isocentre beside the axis, y, mm",
    "depth_mm": "source to isocentre, mm",
}
"""Fields of `XrayRow` -> what they are, for people."""


def row_of(result: Registration, isocenter: ArrayLike, number: int, frame: int | None = None) -> XrayRow:
    """The row of a registration whose model's isocentre is at (3,), RAS mm."""
    pose = result.pose
    primary, secondary = angles_of(pose[:3, 2])
    upright = pose_from_angles(primary, secondary, 1.0, np.zeros(3))[:3, :3]
    turned = upright.T @ pose[:3, :3]
    x, y, depth = transform_points(invert(pose), np.asarray(isocenter, dtype=np.float64)).tolist()
    trust = result.trust
    return XrayRow(
        result.name,
        number,
        frame,
        verdict=result.verdict or "check",
        reason="" if trust is None else trust.reason,
        weakest="" if trust is None else trust.weakest,
        probability=None if trust is None else trust.probability,
        similarity=result.similarity,
        seconds=result.seconds,
        primary_deg=primary,
        secondary_deg=secondary,
        in_plane_deg=float(np.degrees(np.arctan2(turned[1, 0], turned[0, 0]))),
        x_mm=x,
        y_mm=y,
        depth_mm=depth,
        sid_mm=result.intrinsics.sdd,
    )


def summarize_cohort(outcomes: Sequence[CaseOutcome]) -> CohortSummary:
    """Counts of cases and verdicts, and how the poses are distributed."""
    rows = [row for outcome in outcomes for row in outcome.xrays]
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}
    values = {name: parameter(believed(rows), name) for name in PARAMETERS}
    return CohortSummary(
        len(outcomes),
        sum(outcome.state == REFUSED for outcome in outcomes),
        len(rows),
        **counts,
        converged_95=wilson_interval(counts["converged"], len(rows)),
        median_similarity=_median([row.similarity for row in rows]),
        median_seconds=_median([row.seconds for row in rows]),
        quartiles={name: tuple(np.percentile(v, [25, 50, 75]).tolist()) for name, v in values.items() if v.size},
    )


def parameter(rows: Sequence[XrayRow], name: str) -> NDArray[np.float64]:
    """The values (N,) of a pose parameter; angles go beyond 180 degrees where most of them lie about that."""
    values = np.array([getattr(row, name) for row in rows], dtype=np.float64)
    if name.endswith("_deg") and values.size:
        middle = 180.0 if np.cos(np.radians(values)).mean() < 0 else 0.0
        values = middle + (values - middle + 180) % 360 - 180
    return values


def believed(rows: Sequence[XrayRow]) -> list[XrayRow]:
    """The rows that have a pose and did not fail."""
    return [row for row in rows if row.verdict != "failed" and row.primary_deg is not None]


def cohort_line(summary: CohortSummary) -> str:
    """One sentence on all."""
    s = summary
    said = f"{s.xrays} X-rays of {s.cases} cases: {s.converged} converged, {s.check} to be checked, {s.failed} failed"
    refused = f"; {s.refused} cases could not be registered" if s.refused else ""
    time = "" if s.median_seconds is None else f"; {s.median_seconds:.1f} s per X-ray"
    return f"{said}{refused}{time}."


def write_cohort_table(path: Path, outcomes: Sequence[CaseOutcome]) -> None:
    """Write a CSV file with a row for each X-ray, and one for each case without any."""
    names = [field.name for field in dataclasses.fields(XrayRow)]
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        about = {"case": outcome.case, "state": outcome.state}
        rows += [{**about, **dataclasses.asdict(row)} for row in outcome.xrays]
        if not outcome.xrays:
            rows.append({**about, "reason": outcome.reason})
    _write_table(path, ["case", "state", *names], rows)


def write_case_table(path: Path, outcomes: Sequence[CaseOutcome]) -> None:
    """Write a CSV file with a row for each case: its X-rays counted by verdict, the median and the worst of what is said of their errors."""
    _write_table(path, _CASE_COLUMNS, [_case_row(outcome) for outcome in outcomes])


def _case_row(outcome: CaseOutcome) -> dict[str, Any]:
    rows = outcome.xrays
    placed = [row for row in rows if row.similarity is not None]
    probabilities = [row.probability for row in placed if row.probability is not None]
    lost = [row.reason for row in rows if row.similarity is None]
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {
        "case": outcome.case,
        "state": outcome.state,
        "xrays": len(rows),
        **{verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS},
        "without_pose": len(lost),
        "median_probability": _median(probabilities),
        "worst_probability": max(probabilities, default=None),
        "worst_xray": max(placed, key=lambda row: row.probability or 0.0).name if probabilities else "",
        "seconds": sum(seconds) if seconds else None,
        "reason": outcome.reason or next(iter(lost), ""),
    }


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), "utf-8", newline="")


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
