"""A cohort: many cases registered one by one or by many workers, each once, and a page on all of them.

A case that is finished is not done again unless its row or its files have changed; one that was cut off is.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.cohort import REFUSED, CaseOutcome
from XVRegistrationLib.evaluation.cohort_page import write_cohort
from XVRegistrationLib.files import replacing, writing_to
from XVRegistrationLib.jobs.cohort_case import case_mark, finished, hidden, register_case
from XVRegistrationLib.jobs.cohort_columns import FILES
from XVRegistrationLib.jobs.cohort_model import make_model, model_mark
from XVRegistrationLib.jobs.cohort_table import cases_of_rows, check_columns, read_rows
from XVRegistrationLib.jobs.cohort_workers import Trouble, check_scheduler, workers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from XVRegistrationLib.jobs.cohort_columns import CohortCase
    from XVRegistrationLib.jobs.cohort_workers import Workers

MODELS = "models"


def register_cohort(
    cases: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    output: str | os.PathLike[str],
    *,
    everywhere: Mapping[str, Any] | None = None,
    workers: int = 0,
    scheduler: str = "",
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[CaseOutcome]:
    """Register the cases of a table (CSV), of a folder with a folder for each, or of rows: column -> value.

    Columns are called as the options of `xvregistration train` and `register` (`cohort_columns.columns()`): case and xray,
    and volume or model, are needed; several X-rays of a case are separated by semicolons, or a folder. `everywhere` holds
    columns for all rows that leave them empty. Paths are relative to the table's folder, those of rows to the present one.

    One model is made for all rows that say the same of a volume: the bank, and a network where `minutes` are given. The
    work is done by this process, by `workers` processes of Dask on this computer, or by those of the Dask `scheduler` at
    an address, whose computers must see the same files at the same paths. A worker that is lost loses nothing but what it was
    doing, which is done again; what makes it end again and again becomes a row that says so.

    Into `output` are written cases/CASE/NAME.json and .png, models, and cohort.html, .csv and .json and cases.csv on all. What was
    finished by an earlier run is kept, unless the row or its files have changed, or with `fresh`. `progress` is called with
    cases done and cases in all; an exception from it ends the run, and the next one goes on.

    Returns an outcome for each row, in their order; what is wrong with one is its reason. Raises InputError for a table
    that cannot be read, columns that there are not, a folder that cannot be written to, and a scheduler that is not there.
    """
    root = Path(output).absolute()
    if isinstance(cases, (str, os.PathLike)):
        rows: Sequence[Mapping[str, Any]] = read_rows(Path(cases))
        base = Path(cases).absolute() if Path(cases).is_dir() else Path(cases).absolute().parent
    else:
        rows, base = list(cases), Path.cwd()
        check_columns(rows, "The rows")
    check_columns([everywhere or {}], "What holds for all rows")
    found = cases_of_rows(rows, base, everywhere)
    _check_output(root, [case for case in found if not isinstance(case, CaseOutcome)])
    run = _Run(root, found, fresh, progress)
    try:
        if run.waiting:
            with workers_of(min(workers, run.outcomes.count(None)), scheduler) as team:
                run.work(team)
        elif scheduler:  # a wrong address is said also where there is nothing to do
            check_scheduler(scheduler)
    finally:
        done = [outcome for outcome in run.outcomes if outcome is not None]
        write_cohort(root, done)
    return done


class _Run:
    """The cases that are to be done, in which order, and what came of them."""

    def __init__(
        self,
        root: Path,
        found: Sequence[CohortCase | CaseOutcome],
        fresh: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._root = root
        self._progress = progress
        self._cases = found
        self._marks: dict[int, str] = {}
        self._model: dict[int, Path] = {}
        self._ready: deque[tuple[str, Any]] = deque()
        """Work to begin: ("model", folder) or ("case", index)."""
        self.outcomes: list[CaseOutcome | None] = [None] * len(found)
        self.waiting: dict[Path, list[int]] = {}
        """Cases by the folder of their model, in the order of the rows."""
        for i, case in enumerate(found):
            self.outcomes[i] = case if isinstance(case, CaseOutcome) else self._earlier(i, case, fresh)
            if self.outcomes[i] is None:
                self.waiting.setdefault(self._model[i], []).append(i)
        self._report()

    def work(self, team: Workers) -> None:
        """Do it: each model before its cases, and all cases of a model before the next one where that can be."""
        for folder, cases in self.waiting.items():
            if self._case(cases[0]).model:
                self._ready += [("case", i) for i in cases]
            else:
                self._ready.append(("model", folder))
        running = 0
        while self._ready or running:
            while self._ready and running < team.size:
                self._begin(team, *self._ready.popleft())
                running += 1
            (kind, which), result = team.next()
            running -= 1
            if kind == "model":
                self._made(which, result)
            else:
                self._done(which, result)

    def _earlier(self, i: int, case: CohortCase, fresh: bool) -> CaseOutcome | None:
        """What came of a case earlier, or at once; None where it is to be done."""
        try:
            mark = "" if case.model else model_mark(case)
            self._marks[i] = case_mark(case, mark)
        except InputError:
            try:  # a file that is not there has a column
                case_mark(case, "")
            except InputError as why:
                e = why
            return CaseOutcome(case.name, REFUSED, hidden(str(e), case))
        self._model[i] = Path(case.model) if case.model else self._root / MODELS / mark
        return None if fresh else finished(self._root, case, self._marks[i])

    def _begin(self, team: Workers, kind: str, which: Any) -> None:
        if kind == "model":
            team.submit((kind, which), make_model, which, [self._case(i) for i in self.waiting[which]])
        else:
            case, model = self._case(which), self._model[which]
            team.submit((kind, which), register_case, self._root, case, model, self._marks[which])

    def _made(self, folder: Path, result: Any) -> None:
        """The cases of a model can begin, before other models; without it none of them can."""
        cases = self.waiting[folder]
        if not isinstance(result, Trouble):
            self._ready.extendleft(("case", i) for i in reversed(cases))
            return
        for i in cases:
            self._done(i, result)

    def _done(self, i: int, result: Any) -> None:
        case = self._case(i)
        if isinstance(result, Trouble):
            result = CaseOutcome(case.name, REFUSED, hidden(result.reason, case))
        self.outcomes[i] = result
        self._report()

    def _case(self, i: int) -> CohortCase:
        case = self._cases[i]
        assert not isinstance(case, CaseOutcome)
        return case

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(sum(outcome is not None for outcome in self.outcomes), len(self.outcomes))


def _check_output(root: Path, cases: Sequence[CohortCase]) -> None:
    """Raise InputError for a folder that cannot be written to, or that holds what the cases are made from."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file; give a folder for the results.")
    place = root.resolve()
    for case in cases:
        for field in FILES:
            given = getattr(case, field)
            for path in given if isinstance(given, tuple) else [given] if given else []:
                inside = Path(path).resolve().relative_to(place).parts if _within(path, place) else ()
                if inside and inside[0] in ("cases", MODELS):
                    raise InputError(
                        f"{root} holds files of the case {case.name}; choose another folder for the results."
                    )
    with writing_to(root):
        with replacing(root / "cohort.txt"):
            pass
        (root / "cohort.txt").unlink(missing_ok=True)


def _within(path: str, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder)
