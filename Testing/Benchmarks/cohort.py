"""What Dask costs: the same small cases in this process and by one worker, in processor time, which a busy computer changes least.

What a case costs is the difference between many cases and few, so that the start of a worker is told apart.
"""

from __future__ import annotations

import resource
import shutil
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from Testing.Python.cohorts import NEAR, found, write_cases
from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.cohort import register_cohort
from XVRegistrationLib.jobs.cohort_table import read_rows

if TYPE_CHECKING:
    from pathlib import Path

FEW, MANY = 4, 44
_MOST = 1.05


def run(output: Path) -> None:
    """Print and save the table; whether the overhead is at most 5 % of the work."""
    folder = output / "cohort"
    shutil.rmtree(folder, ignore_errors=True)
    write_cases(folder, MANY)
    rows = [
        {**row, "volume": folder / row["volume"], "xray": folder / row["xray"]}
        for row in read_rows(folder / "cases.csv")
    ]
    runs, results = [], {}
    for round_ in range(2):
        for workers in (0, 1):
            for count in (FEW, MANY):
                shutil.rmtree(folder / "out", ignore_errors=True)
                began, spent = time.perf_counter(), _processor()
                with counting(f"{workers} workers") as progress:
                    outcomes = register_cohort(
                        rows[:count], folder / "out", everywhere=NEAR, workers=workers, progress=progress
                    )
                seconds = time.perf_counter() - began
                processor = _processor() - spent
                runs.append(
                    {"round": round_, "workers": workers, "cases": count, "s": seconds, "processor_s": processor}
                )
                results[workers, count] = found(outcomes)
    if results[0, MANY] != results[1, MANY]:
        raise SystemExit("One worker found something else than this process.")
    each = {workers: _each(runs, workers, "processor_s") for workers in (0, 1)}
    table = Table("", "processor, s a case", "clock, s a case", title=f"{MANY} small cases")
    for workers, name in ((0, "this process"), (1, "one worker of Dask")):
        table.add_row(name, f"{each[workers]:.3f}", f"{_each(runs, workers, 's'):.3f}")
    Console(width=120).print(table)
    ratio = each[1] / each[0]
    print(f"Dask's overhead: {100 * (ratio - 1):.1f} % of the work (at most 5 %): {'yes' if ratio <= _MOST else 'NO'}")
    write_json(output / "cohort.json", {"runs": runs, "ratio": ratio})


def _each(runs: list[dict[str, float]], workers: int, what: str) -> float:
    """Seconds that one more case takes: the least of the rounds."""

    def least(count: int) -> float:
        return min(run[what] for run in runs if run["workers"] == workers and run["cases"] == count)

    return (least(MANY) - least(FEW)) / (MANY - FEW)


def _processor() -> float:
    """Processor time of this process and of its children that have ended, s."""
    of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in of)
