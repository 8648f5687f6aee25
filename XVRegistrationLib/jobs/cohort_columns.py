"""The columns of a cohort's table: a row is a case, said in the words of `xvregistration train` and `register`."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError, check_names
from XVRegistrationLib.geometry.c_arms import c_arms
from XVRegistrationLib.geometry.views import PRESETS, VIEWS
from XVRegistrationLib.imaging.anatomies import load_presets
from XVRegistrationLib.imaging.dicom.subtraction import frames_of_text
from XVRegistrationLib.imaging.xray import BRIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EACH = "all"
"""The frame that stands for each of a file's."""
_CASE = re.compile(r"\w(?:[\w .+-]{0,98}[\w+-])?")
_SEVERAL = re.compile(r"\s*;\s*")
_YES, _NO = ("yes", "true", "1", "x"), ("no", "false", "0")


@dataclass(frozen=True)
class CohortCase:
    """One row: what is registered, to what, and what is said of it. What is not said is empty or None."""

    name: str
    """Names the results; the user's own, which need not tell who the patient is."""
    xrays: tuple[str, ...]
    """Files."""
    volume: str = ""
    model: str = ""
    """Folder; without it a model is made of the volume, once for all rows that say the same of it."""
    # How the volume is read.
    values: tuple[str, ...] = ()
    ct_series: str | None = None
    not_scanned: float | None = None
    segmentation: str | None = None
    densities: str | None = None
    # The model that is made.
    anatomy: str | None = None
    force: bool = False
    view: str | None = None
    rotation: tuple[float, ...] | None = None
    translation: tuple[float, ...] | None = None
    sod: float | None = None
    minutes: float = 0.0
    geometry: str | None = None
    # How the X-rays are read.
    sid: float | None = None
    spacing: tuple[float, ...] | None = None
    bright: str | None = None
    mirrored: bool | None = None
    frame: int | str | None = None
    subtract: bool = False
    mask_frames: tuple[int, ...] | None = None
    c_arm: str | None = None
    calibration: tuple[str, ...] = ()
    calibration_unit: float = 1.0
    undistorted: bool = False
    # What is known of the poses and the images.
    preset: tuple[str, ...] = ()
    landmarks: str | None = None
    start: str | None = None
    depth: tuple[float, ...] | None = None
    surroundings: bool = False
    mask: tuple[str, ...] = ()
    # What is drawn on the X-rays.
    labels: str | None = None
    label_names: str | None = None
    structures: tuple[str, ...] = ()
    targets: str | None = None


FILES = (
    "xrays",
    "volume",
    "model",
    "segmentation",
    "densities",
    "geometry",
    "calibration",
    "landmarks",
    "start",
    "mask",
    "labels",
    "label_names",
    "targets",
)
"""Fields of `CohortCase` that name files or folders."""
OF_THE_MODEL = (
    "volume",
    "values",
    "ct_series",
    "not_scanned",
    "segmentation",
    "densities",
    "anatomy",
    "force",
    "view",
    "rotation",
    "translation",
    "sod",
    "minutes",
    "geometry",
)
"""Fields that say which model is made: rows in which they are alike share one."""
_NAMED = {"case": "name", "xray": "xrays", "as": "values"}
"""Columns that are called otherwise than their fields."""


def case_of_row(row: Mapping[str, Any], base: Path) -> CohortCase:
    """The case of a row, column -> text, number, or a sequence of these; files are looked for from the folder `base` on.

    Raises InputError, a sentence on the first column that is wrong.
    """
    said = {column_named(column): _text(value) for column, value in row.items()}
    fields: dict[str, Any] = {}
    for column, text in said.items():
        if text == "":
            continue
        field = _NAMED.get(column, column.replace("-", "_"))
        try:
            value = _COLUMNS[column](text)
        except (ValueError, OverflowError) as e:
            shown = "" if field in FILES else f", not {text!r}"
            raise InputError(f"{column} {e if isinstance(e, InputError) else f'takes {e}'}{shown}.") from None
        fields[field] = _absolute(value, base) if field in FILES else value
    if "name" not in fields:
        raise InputError("The row has no case: give each a name of its own.")
    if "xrays" not in fields:
        raise InputError("The row names no X-ray.")
    case = CohortCase(**fields)
    _check(case)
    return case


def column_named(name: str) -> str:
    """The column that a header or argument means; InputError, with near names, where there is none."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    plain = {"xrays": "xray", "x-ray": "xray", "x-rays": "xray"}.get(plain, plain)
    check_names([plain], list(_COLUMNS), "A table of cases has no column")
    return plain


def columns() -> list[str]:
    """The names of all columns, as a table's header has them."""
    return list(_COLUMNS)


def _check(case: CohortCase) -> None:
    """Raise InputError for what makes no sense together."""
    made = [field for field in OF_THE_MODEL if field != "volume" and _said(case, field)]
    if not case.volume and not case.model:
        raise InputError("The row names neither a volume nor a model.")
    if case.model and made:
        column = next((c for c, field in _NAMED.items() if field == made[0]), made[0].replace("_", "-"))
        raise InputError(f"With a model that is there already, {column} says nothing; leave one of them out.")
    if case.start and (case.preset or case.landmarks):
        raise InputError("A start is refined without any other start; leave out preset and landmarks.")
    if (case.start or case.landmarks) and (len(case.xrays) > 1 or case.frame == EACH):
        raise InputError("A start or landmarks are about one X-ray; give that one a row of its own.")
    if case.structures and not case.labels:
        raise InputError("structures are those of a label map: name it in the column labels.")
    if not 0 <= case.minutes < math.inf:
        raise InputError(f"minutes takes a number of 0 or more, not {case.minutes:g}.")


def _said(case: CohortCase, field: str) -> bool:
    default = next(f.default for f in dataclasses.fields(CohortCase) if f.name == field)
    return bool(getattr(case, field) != default)


def _absolute(value: Any, base: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_absolute(one, base) for one in value)
    return os.path.abspath(base / Path(value).expanduser())  # noqa: PTH100 - links stay what they are


def _text(value: Any) -> str:
    """A cell as text; a table of pandas has NaN where it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, tuple)):
        return ";".join(map(str, value))
    return str(value).strip()


def _several(text: str) -> tuple[str, ...]:
    return tuple(part for part in _SEVERAL.split(text.strip()) if part)


def _name(text: str) -> str:
    if not _CASE.fullmatch(text):
        raise ValueError("letters, digits, spaces and . + - _ (a folder is called so)")
    return text


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("a number") from None
    if not math.isfinite(value):
        raise ValueError("a number")
    return value


def _numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(_number(part) for part in re.split(r"[\s;,]+", text.strip()))
        except ValueError:
            values = ()
        if len(values) != count:
            raise ValueError(f"{count} numbers")
        return values

    return parse


def _flag(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise ValueError("yes or no")
    return text.lower() in _YES


def _one_of(*known: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return text

    return parse


def _views(text: str) -> tuple[str, ...]:
    return tuple(map(_one_of(*PRESETS), _several(text)))


def _frame(text: str) -> int | str:
    if text in ("min", "max", "mean", EACH):
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError("the number of a frame, min, max, mean or all") from None


_COLUMNS: dict[str, Callable[[str], Any]] = {
    "case": _name,
    "xray": _several,
    "volume": str,
    "model": str,
    "as": lambda text: tuple(text.split()),
    "ct-series": str,
    "not-scanned": _number,
    "segmentation": str,
    "densities": str,
    "anatomy": lambda text: _one_of(*load_presets())(text),
    "force": _flag,
    "view": _one_of(*VIEWS),
    "rotation": _numbers(3),
    "translation": _numbers(3),
    "sod": _number,
    "minutes": _number,
    "geometry": str,
    "sid": _number,
    "spacing": _numbers(2),
    "bright": _one_of(*BRIGHT),
    "mirrored": _flag,
    "frame": _frame,
    "subtract": _flag,
    "mask-frames": frames_of_text,
    "c-arm": lambda text: _one_of(*c_arms())(text),
    "calibration": _several,
    "calibration-unit": _number,
    "undistorted": _flag,
    "preset": _views,
    "landmarks": str,
    "start": str,
    "depth": _numbers(2),
    "surroundings": _flag,
    "mask": _several,
    "labels": str,
    "label-names": str,
    "structures": _several,
    "targets": str,
}
