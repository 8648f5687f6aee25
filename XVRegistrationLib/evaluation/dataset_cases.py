"""Published data sets as cases: X-rays with a reference pose, registered without it, and measured against it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.curves import write_curves
from XVRegistrationLib.evaluation.measures import CaseRow, measure, refused
from XVRegistrationLib.evaluation.run_folder import SUMMARY, RunFolder, source_fingerprint
from XVRegistrationLib.evaluation.summary import Summary, summarize_rows
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.registration.bank import BANK_SIZE, build_bank
from XVRegistrationLib.registration.model import PatientModel
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.imaging.xray import Xray


@dataclass(frozen=True, eq=False)
class DatasetCase:
    """One X-ray of a data set."""

    name: str
    volume: Volume
    """The same object for all cases of a patient."""
    xray: Xray
    reference_pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm, as the data set gives it; never shown to the registration."""
    points: NDArray[np.float64]
    """(N, 3) RAS mm, where errors are measured."""
    views: tuple[str, ...] = ("AP", "PA")
    """The nominal views that it may be, as the operator knows; the best registration of all counts."""


@dataclass(frozen=True)
class Search:
    """Where poses are looked for, which is known of the C-arm and not of the cases."""

    sod: float
    """Distance from the source to the volume's centre, mm."""
    pose_range: PoseRange
    bank: int = BANK_SIZE
    """Renders of the bank, a power of two."""


def evaluate_cases(
    cases: Iterable[DatasetCase],
    search: Search,
    output: Path,
    made_of: Any,
    *,
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Summary:
    """Register all cases by their bank, and write results.csv, summary.json and the curves into `output`.

    `made_of` is what tells these cases from others, as JSON can hold it: cases already registered of the same, by the same
    code, are kept, so that a run that was ended goes on; with `fresh` they are registered again. `progress` is called with
    each case's name before it is registered.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the evaluation.")
    code = source_fingerprint("evaluation/dataset_cases.py")
    run = RunFolder(output, dataclasses.asdict(search), made_of, code, fresh=fresh)
    models = _Models(search)
    names = []
    for case in cases:
        names.append(case.name)
        if case.name in run.rows:
            continue
        if progress is not None:
            progress(case.name)
        run.keep(_register(case, models))
    if not names:
        raise InputError("The data set holds no case to evaluate.")
    return write_summary(output, [run.rows[name] for name in names])


def write_summary(output: Path, rows: list[CaseRow]) -> Summary:
    """Write summary.json and the curves of rows into `output`; the summary."""
    summary = summarize_rows(rows)
    write_json(output / SUMMARY, {**summary.to_dict(), "versions": versions()})
    write_curves(output, rows)
    return summary


def _register(case: DatasetCase, models: _Models) -> CaseRow:
    """The row of a case: the most similar of the registrations from each of its nominal views, and what all of them took."""
    found, reason = [], ""
    for view in case.views:
        model = models.of(case, view)
        try:
            found.append((register_xray(model, case.xray, ("bank",)), model))
        except InputError as e:
            reason = str(e)
    if not found:
        return refused(case.name, reason)
    result, model = max(found, key=lambda pair: pair[0].similarity)
    row = measure(result, case.xray, case.reference_pose, case.points, model)
    return dataclasses.replace(
        row,
        name=case.name,
        seconds=sum(r.seconds for r, _ in found),
        renders=float(sum(r.renders for r, _ in found)),
    )


class _Models:
    """Models of the patient at hand, one for each view and camera; a new patient replaces them."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._volume: Volume | None = None
        self._pyramid: Pyramid | None = None
        self._models: dict[tuple[str, object], PatientModel] = {}

    def of(self, case: DatasetCase, view: str) -> PatientModel:
        if self._volume is not case.volume or self._pyramid is None:
            self._volume, self._models = case.volume, {}
            self._pyramid = Pyramid(density_grid(case.volume))
        camera, search = case.xray.intrinsics, self._search
        if (view, camera) not in self._models:
            x, y, z = (float(v) for v in case.volume.center)
            nominal = NominalView(view, (x, y, z), search.sod)
            bank = build_bank(self._pyramid.finest, nominal, search.pose_range, camera, search.bank)
            self._models[view, camera] = PatientModel(
                case.volume, self._pyramid, nominal, search.pose_range, camera, bank
            )
        return self._models[view, camera]
