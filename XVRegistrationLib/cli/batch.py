"""`xvregistration batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.cli.xray_options import Help
from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from XVRegistrationLib.evaluation.cohort import CaseOutcome


def add_batch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`batch`, among the commands."""
    from XVRegistrationLib.jobs.cohort_columns import columns

    p = commands.add_parser(
        "batch",
        help="register a cohort: a table or folder of patients",
        description="Registers the cases of a table, each once: what was finished is kept, unless its row or files have "
        f"changed. Columns of the table, called as options of `train` and `register`: {', '.join(columns())}. Needed "
        "are case, xray (several with semicolons, or a folder), and volume or model.",
        formatter_class=Help,
    )
    p.add_argument(
        "cases",
        metavar="CASES",
        help="CSV file with a row for each case, or a folder with a folder for each, in which files are called by the "
        "columns: volume.nii.gz, xray.dcm",
    )
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder for cohort.html, .csv, .json, cases.csv, cases and models",
    )
    p.add_argument(
        "--all",
        dest="everywhere",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN=VALUE",
        help="for all rows that leave this column empty, such as minutes=1 anatomy=thorax-ap",
    )
    p.add_argument(
        "--workers",
        type=int,
        default=None,
        metavar="N",
        help="processes of Dask on this computer; 0: none but this one; by default as many as processors and memory bear",
    )
    p.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask scheduler, tcp://HOST:8786, to work there"
    )
    p.add_argument("--fresh", action="store_true", help="register again what is finished")

    def run(options: argparse.Namespace) -> int:
        return _run(options)

    p.set_defaults(run=run)


def _run(options: argparse.Namespace) -> int:
    """Register the cases; say what came of them, and of the first that has no pose why."""
    from XVRegistrationLib.cli.progress import console, counting
    from XVRegistrationLib.evaluation.cohort import cohort_line, summarize_cohort
    from XVRegistrationLib.evaluation.cohort_page import PAGE
    from XVRegistrationLib.jobs.cohort import register_cohort
    from XVRegistrationLib.jobs.cohort_workers import has_dask, usual_workers

    everywhere = dict(_setting(text) for text in options.everywhere)
    workers = options.workers
    if workers is not None and workers < 0:
        raise InputError(f"--workers takes 0 or more, not {workers}.")
    if workers is None:
        workers = 0 if options.scheduler else usual_workers()
        if not options.scheduler and not has_dask():
            console.print("Dask is not installed (dask[distributed]): this process works alone.", markup=False)
    try:
        with counting("Cases") as progress:
            outcomes = register_cohort(
                options.cases,
                options.output,
                everywhere=everywhere,
                workers=workers,
                scheduler=options.scheduler,
                fresh=options.fresh,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped. What is finished is kept; the same command goes on.") from None
    kept = sum(outcome.kept for outcome in outcomes)
    if kept:
        console.print(f"{kept} cases were finished before and have not changed.")
    console.print(cohort_line(summarize_cohort(outcomes)), markup=False)
    console.print(f"Tables and pictures are in {options.output}; open {options.output}/{PAGE}.", markup=False)
    _check(outcomes)
    return 0


def _setting(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--all takes COLUMN=VALUE, not {text}.")
    return column, value


def _check(outcomes: Sequence[CaseOutcome]) -> None:
    """Raise InputError where a case or an X-ray has no pose."""
    lost = [(o.case, o.reason) for o in outcomes if not o.xrays]
    lost += [(row.name, row.reason) for o in outcomes for row in o.xrays if row.similarity is None]
    if not lost:
        return
    count = sum(max(1, len(outcome.xrays)) for outcome in outcomes)
    name, reason = lost[0]
    few = f"{len(lost)} of {count} have no pose; cohort.csv says why. The first, " if count > 1 else ""
    raise InputError(f"{few}{name}: {reason}")
