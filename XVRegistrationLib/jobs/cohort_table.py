"""The rows of a cohort from a CSV file, or from a folder that has a folder for each case."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.cohort import REFUSED, CaseOutcome
from XVRegistrationLib.files import read_text
from XVRegistrationLib.imaging.xray_folder import xray_files
from XVRegistrationLib.jobs.cohort_columns import case_of_row, column_named, columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from XVRegistrationLib.jobs.cohort_columns import CohortCase


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table (CSV; comma, semicolon or tab), or of a folder; InputError where there are none.

    In a folder every folder is a case, called so, and what is in it is called by the columns: volume.nii.gz or a folder
    `volume`, xray.dcm or a folder `xrays`, labels.nii.gz, targets.csv and so on.
    """
    if path.is_dir():
        return _folder_rows(path)
    text = read_text(
        path, "a table of cases", instead="give a table of cases (CSV in UTF-8), or a folder that has one for each"
    )
    lines = text.splitlines()
    if not lines:
        raise InputError(f"{path} is empty; its first line names the columns, such as case,volume,xray.")
    # The separator is told by the header alone: cells may hold any of them.
    separator = max(",;\t", key=lines[0].count)
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as e:
        raise InputError(f"{path} is not a table of cases (CSV): {e}.") from e
    header, rows = [cell.strip() for cell in table[0]], table[1:]
    found = []
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            raise InputError(f"{path}: the row of {cells[0]!r} has more cells than the header has columns.")
        found.append(dict(zip(header, cells, strict=False)))
    check_columns(found[:1] or [dict.fromkeys(header, "")], str(path))
    twice = [name for name in header if name and [column_named(h) for h in header].count(column_named(name)) > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]} twice.")
    if not found:
        raise InputError(f"{path} has no rows; give a line for each case.")
    return found


def check_columns(rows: Sequence[Mapping[str, Any]], what: str) -> None:
    """Raise InputError, naming `what`, for columns that there are not."""
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            column_named(name)
        except InputError as e:
            raise InputError(f"{what}: {e}") from None


def cases_of_rows(
    rows: Sequence[Mapping[str, Any]], base: Path, everywhere: Mapping[str, Any] | None = None
) -> list[CohortCase | CaseOutcome]:
    """The case of each row, or why there is none; `everywhere` are columns for the rows that leave them empty.

    A folder of X-rays becomes its files.
    """
    found: list[CohortCase | CaseOutcome] = []
    names: dict[str, int] = {}
    common = {column_named(name): value for name, value in (everywhere or {}).items()}
    for number, row in enumerate(rows, 1):
        said = {column_named(name): value for name, value in row.items()}
        said = common | {name: value for name, value in said.items() if str(value or "").strip()}
        name = str(said.get("case") or f"row {number}").strip()
        try:
            case = case_of_row(said, base)
            if case.name.casefold() in names:
                raise InputError(
                    f"Row {number} has the case of row {names[case.name.casefold()]}; give each its own name."
                )
            names[case.name.casefold()] = number
            found.append(dataclasses.replace(case, xrays=_files(case)))
        except InputError as e:
            found.append(CaseOutcome(name, REFUSED, str(e)))
    return found


def _files(case: CohortCase) -> tuple[str, ...]:
    files: list[str] = []
    for i, path in enumerate(case.xrays, 1):
        try:
            files += map(str, xray_files(path))
        except InputError:
            raise InputError(f"The folder of X-rays {i} holds no files, or cannot be read.") from None
    return tuple(files)


def _folder_rows(folder: Path) -> list[dict[str, str]]:
    known = {*columns(), "xrays"}
    rows = []
    for case in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        row = {"case": case.name}
        for entry in sorted(case.iterdir()):
            name = entry.name.split(".")[0].lower()
            if name in known:
                if name in row:
                    raise InputError(f"{case} has two of {name}; leave one.")
                row[name] = str(entry.absolute())
        if len(row) > 1:
            rows.append(row)
    if not rows:
        raise InputError(
            f"{folder} holds no cases: each is a folder with a volume (volume.nii.gz, or a folder called so) and X-rays "
            "(xray.dcm, or a folder xrays); or give a table."
        )
    return rows
