"""One case of a cohort: its X-rays registered to its model, its files written; what is wrong becomes a row."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.cohort import DONE, REFUSED, CaseOutcome, XrayRow, row_of
from XVRegistrationLib.evaluation.drawing import Structures, draw_registration
from XVRegistrationLib.evaluation.pictures import can_draw
from XVRegistrationLib.evaluation.protocol import fingerprint
from XVRegistrationLib.evaluation.run_folder import data_mark
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.dicom.xray import whole
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_label_names, read_volume
from XVRegistrationLib.jobs.cohort_columns import EACH, FILES
from XVRegistrationLib.jobs.cohort_model import of_file, read_parts
from XVRegistrationLib.registration.card import CARD, intrinsics_of, read_card, reading_of
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.objective import DepthPrior
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result_files import write_no_result
from XVRegistrationLib.registration.series import register_series
from XVRegistrationLib.registration.start_files import read_landmarks, read_masks, read_start
from XVRegistrationLib.registration.starts import starts_of
from XVRegistrationLib.registration.target_files import read_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.jobs.cohort_columns import CohortCase
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

CASES, CASE = "cases", "case.json"
_FORMAT = "xvregistration case"
_COLUMN_OF = {
    "series": "ct-series",
    "believed": "as",
    "attenuation": "as",
    "vessels": "as",
    "background": "not-scanned",
    "forced": "force",
}
"""Arguments of the library that an InputError asks for -> columns that are called otherwise."""


def case_mark(case: CohortCase, model: str) -> str:
    """What tells a case from another: what its row says, the state of its files, and `model`, the mark of its model.

    Raises InputError where a file is not there; it says in which column, but no path, which may name a patient.
    """
    said = dataclasses.asdict(case)
    marks = []
    for field in FILES:
        given = getattr(case, field)
        several = given if isinstance(given, tuple) else [given] if given else []
        for i, path in enumerate(several, 1):
            try:
                marks.append(data_mark(Path(path) / CARD if field == "model" else path.split("#")[0]))
            except (InputError, OSError):
                which = f" {i}" if len(several) > 1 else ""
                column = {"xrays": "xray"}.get(field, field.replace("_", "-"))
                raise InputError(f"There is nothing at the path in the column {column}{which}.") from None
    return fingerprint(said, marks, model)


def finished(output: Path, case: CohortCase, mark: str) -> CaseOutcome | None:
    """What came of a case in an earlier run, where that was to an end and nothing has changed since."""
    try:
        record = json.loads((output / CASES / case.name / CASE).read_text("utf-8"))
        outcome = CaseOutcome.from_dict(record["outcome"])
        if record["format"] != _FORMAT or record["mark"] != mark or outcome.state != DONE:
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    there = all((output / row.result).is_file() for row in outcome.xrays)
    return dataclasses.replace(outcome, kept=True) if there else None


def register_case(output: Path, case: CohortCase, model_folder: Path, mark: str) -> CaseOutcome:
    """Register the X-rays of a case, and write NAME.json and NAME.png of each into its folder, and last its record.

    An InputError makes the case, or one of its X-rays, a row that says it.
    """
    folder = output / CASES / case.name
    _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = CaseOutcome(case.name, DONE, xrays=tuple(_rows(folder, case, model_folder)))
    except InputError as e:
        outcome = CaseOutcome(case.name, REFUSED, hidden(in_words(e), case))
    write_json(folder / CASE, {"format": _FORMAT, "mark": mark, "outcome": outcome.to_dict()})
    return outcome


def hidden(sentence: str, case: CohortCase) -> str:
    """A sentence with columns in the place of paths and names of files, which may tell who the patient is."""
    words: dict[str, str] = {}
    for field in FILES:
        given = getattr(case, field)
        several = given if isinstance(given, tuple) else [given] if given else []
        for i, path in enumerate(several, 1):
            column = {"xrays": "xray"}.get(field, field.replace("_", "-"))
            said = f"[{column}{f' {i}' if len(several) > 1 else ''}]"
            file = Path(path)
            for text in (path, str(file), file.name, file.name.split(".")[0]):
                if len(text) > 2:  # a shorter one is also a part of words
                    words.setdefault(text, said)
    for text in sorted(words, key=len, reverse=True):
        sentence = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", words[text].replace("\\", r"\\"), sentence)
    return sentence


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, its record first: half a folder is then no finished case."""
    (folder / CASE).unlink(missing_ok=True)
    if folder.is_dir():
        for path in folder.iterdir():
            if path.is_file() and (path.suffix in (".json", ".png") or path.name.startswith(".part-")):
                path.unlink(missing_ok=True)


def _rows(folder: Path, case: CohortCase, model_folder: Path) -> list[XrayRow]:
    model = _model(model_folder, case.volume if case.model else "")
    structures = _structures(case)
    targets = [] if case.targets is None else read_targets(case.targets)
    rows: list[XrayRow] = []
    for number in range(len(case.xrays)):
        name = case.name if len(case.xrays) == 1 else f"{case.name}-{number + 1}"
        try:
            parts = _parts(case, number, name, intrinsics_of(read_card(model_folder)).mirrored)
            xrays = [whole(part, case.xrays[number]) for part in parts]
            found = _registrations(case, number, model, parts, xrays)
        except InputError as e:
            rows.append(_without(folder, name, number, hidden(in_words(e), case)))
            continue
        for xray, result in zip(xrays, found, strict=True):
            frame = int(xray.name.rpartition("-")[2]) if len(xrays) > 1 else None
            row = row_of(result, model.view.isocenter, number + 1, frame)
            picture = f"{xray.name}.png" if can_draw() else ""
            write_json(folder / f"{xray.name}.json", result.to_dict())
            if picture:
                try:
                    draw_registration(folder / picture, model, xray, result, structures, targets=targets)
                except InputError:
                    picture = ""  # a frame of a run that shows nothing has no picture either
            below = f"{CASES}/{case.name}/"
            rows.append(
                dataclasses.replace(
                    row, result=f"{below}{xray.name}.json", picture=f"{below}{picture}" if picture else ""
                )
            )
    return rows


def _without(folder: Path, name: str, number: int, why: str) -> XrayRow:
    """Write why an X-ray has no pose."""
    path = write_no_result(folder, name, why)
    return XrayRow(name, number + 1, reason=why, result=f"{CASES}/{folder.name}/{path.name}")


def _parts(case: CohortCase, number: int, name: str, like_model: bool) -> list[PartialXray]:
    """The X-ray's frames, called by the case: their files may be called by the patient."""
    parts = read_parts(case, number, like_model)
    if case.frame != EACH or len(parts) == 1:
        return [dataclasses.replace(parts[0], name=name)]
    return [dataclasses.replace(part, name=f"{name}-{_frame(part, i):04d}") for i, part in enumerate(parts)]


def _frame(part: PartialXray, i: int) -> int:
    """Which frame of its run it is: not all are there where some were masks."""
    number = part.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else i


def _registrations(
    case: CohortCase, number: int, model: PatientModel, parts: Sequence[PartialXray], xrays: Sequence[Xray]
) -> Sequence[Registration]:
    """One X-ray, or the frames of a run, each from the one before."""
    masks = read_masks(of_file(case.mask, number), xrays)
    landmarks = None if case.landmarks is None else read_landmarks(case.landmarks, xrays[0])
    start = None if case.start is None else read_start(case.start)
    starts = starts_of(model, parts[:1], case.preset, landmarks, start)
    how: dict[str, Any] = {
        "surroundings": case.surroundings,
        "depth": None if case.depth is None else DepthPrior(*case.depth),
    }
    if len(xrays) == 1:
        return [register_xray(model, xrays[0], starts.sources, starts.poses, mask=masks[0], **how)]
    return register_series(model, xrays, starts.sources, starts.poses, masks=masks, **how)


def _structures(case: CohortCase) -> Structures | None:
    if case.labels is None or not can_draw():
        return None
    labels = read_segmentation(case.labels, None if case.label_names is None else read_label_names(case.label_names))
    return Structures.of(labels, labels.values(case.structures) if case.structures else sorted(labels.names))


def _model(folder: Path, volume: str) -> PatientModel:
    """The model of a folder, with the volume that its card names or this one."""
    card = folder / CARD
    when = card.stat().st_mtime_ns if card.is_file() else 0
    return _loaded(folder, volume, when)


@functools.lru_cache(maxsize=1)  # cases of one volume follow each other; two volumes may be more than the memory holds
def _loaded(folder: Path, volume: str, when: int) -> PatientModel:
    return load_model(folder, read_volume(volume, reading_of(read_card(folder))) if volume else None)


def in_words(error: InputError) -> str:
    """What an error says, with the columns that would mend it."""
    give = dict.fromkeys(_COLUMN_OF.get(name, name.replace("_", "-")) for name in error.give)
    return f"{error} (Columns: {', '.join(give)}.)" if give else str(error)
