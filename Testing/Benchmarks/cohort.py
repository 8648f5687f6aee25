"""What Dask costs: each of some small cases in this process and by one worker, in turn, so that both meet the same computer.

The start of the worker, some seconds, is not in it, nor is what both do once for a volume.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from Testing.Python.cohorts import NEAR, found, workers, write_cases
from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.cohort_case import register_case
from XVRegistrationLib.jobs.cohort_columns import CohortCase
from XVRegistrationLib.jobs.cohort_model import make_model
from XVRegistrationLib.jobs.cohort_table import cases_of_rows, read_rows
from XVRegistrationLib.jobs.cohort_workers import workers_of

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.jobs.cohort_workers import Workers

CASES = 60
_MOST = 1.05
_HERE, _DASK = "this process", "one worker of Dask"


def run(output: Path) -> None:
    """Print and save the table; whether the overhead is at most 5 % of the work."""
    folder = output / "cohort"
    shutil.rmtree(folder, ignore_errors=True)
    write_cases(folder, CASES, volumes=1)
    cases = [c for c in cases_of_rows(read_rows(folder / "cases.csv"), folder, NEAR) if isinstance(c, CohortCase)]
    make_model(folder / "model", cases)
    spent: dict[str, list[tuple[float, float]]] = {_HERE: [], _DASK: []}
    with workers_of(0) as here, workers_of(1) as dask, counting("Cases") as progress:
        (worker,) = workers()
        for i, case in enumerate(cases):
            teams = {_HERE: here, _DASK: dask}
            outcomes = {}
            for name in sorted(teams, reverse=bool(i % 2)):
                times, outcomes[name] = _timed(teams[name], folder, case, worker)
                if i > 1:  # the model has been read
                    spent[name].append(times)
            if found([outcomes[_HERE]]) != found([outcomes[_DASK]]):
                raise SystemExit(f"The worker found something else than this process: {outcomes}")
            progress(i + 1, CASES)
    here_s, dask_s = np.array(spent[_HERE]), np.array(spent[_DASK])
    table = Table("", "clock, s a case", "processor, s a case", title=f"{CASES} small cases, medians")
    for name, seconds in ((_HERE, here_s), (_DASK, dask_s)):
        table.add_row(name, *(f"{value:.3f}" for value in np.median(seconds, axis=0)))
    Console(width=120).print(table)
    ratio = np.median(dask_s / here_s, axis=0)
    print(
        f"Dask's overhead, median of the pairs: {100 * (ratio[0] - 1):.1f} % of the clock's time, "
        f"{100 * (ratio[1] - 1):.1f} % of the processor's (at most 5 %): {'yes' if ratio[0] <= _MOST else 'NO'}"
    )
    write_json(output / "cohort.json", {**spent, "ratio": ratio.tolist()})


def _timed(team: Workers, folder: Path, case: CohortCase, worker: psutil.Process) -> tuple[tuple[float, float], Any]:
    """Seconds by the clock and of processors, and the outcome."""
    began, before = time.perf_counter(), _processor(worker)
    team.submit(case.name, register_case, folder / "out", case, folder / "model", "")
    _, outcome = team.next()
    return (time.perf_counter() - began, _processor(worker) - before), outcome


def _processor(worker: psutil.Process) -> float:
    """Processor time of this process and the worker so far, s."""
    times = [process.cpu_times() for process in (psutil.Process(), worker)]
    return sum(of.user + of.system for of in times)
