"""The models of a cohort: one for all rows that say the same of a volume, made once and kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.protocol import fingerprint
from XVRegistrationLib.evaluation.run_folder import data_mark
from XVRegistrationLib.geometry.c_arms import c_arm
from XVRegistrationLib.geometry.calibrations import read_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.anatomies import preset_named
from XVRegistrationLib.imaging.completed import with_c_arm, with_calibration
from XVRegistrationLib.imaging.dicom.xray import whole
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.imaging.volumes.said import reading_said
from XVRegistrationLib.imaging.xray import BRIGHT
from XVRegistrationLib.imaging.xray_files import read_run, read_xray_parts
from XVRegistrationLib.jobs.cohort_columns import EACH, OF_THE_MODEL
from XVRegistrationLib.jobs.train_patient import resume_training, start_patient, train_patient
from XVRegistrationLib.registration.card import CARD, DEFAULT_SOD, read_card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.volumes.reading import Reading
    from XVRegistrationLib.jobs.cohort_columns import CohortCase

_USUAL = Intrinsics.centered(1020.0, (0.76, 0.76), (512, 512))


def model_mark(case: CohortCase) -> str:
    """What tells the model of a case from others: what is said of it, and the state of its files."""
    said = {field: getattr(case, field) for field in OF_THE_MODEL}
    files = (case.volume.split("#")[0], case.segmentation, case.densities, case.geometry)
    return fingerprint(said, case.label_names if case.segmentation else None, [data_mark(f) for f in files if f])


def make_model(folder: Path, cases: Sequence[CohortCase]) -> None:
    """Make the model of the cases, which say the same of it, or go on where that was ended before.

    It is for X-rays like that in the column `geometry`, or of the anatomy, or else like the first of the cases that can
    be read. Raises InputError for a volume that cannot be used.
    """
    case = cases[0]
    if (folder / CARD).exists():
        _go_on(folder, case)
        return
    usual = None if case.anatomy is None else preset_named(case.anatomy)
    sod = usual.sod if usual else DEFAULT_SOD
    limits = PoseRange() if usual is None else PoseRange(usual.rotation, usual.translation)
    turned, moved = case.rotation or limits.rotation, case.translation or limits.translation
    model = start_patient(
        folder,
        read_volume(case.volume, reading_of_case(case)),
        usual.intrinsics if usual is not None and case.geometry is None else _camera(cases),
        view=case.view or (usual.view if usual else "AP"),
        sod=sod if case.sod is None else case.sod,
        pose_range=PoseRange((turned[0], turned[1], turned[2]), (moved[0], moved[1], moved[2])),
        anatomy=case.anatomy or "",
        forced=case.force,
    )
    if case.minutes > 0:
        train_patient(folder, model, minutes=case.minutes)


def reading_of_case(case: CohortCase) -> Reading:
    """How the case's volume is read."""
    return reading_said(
        case.values,
        series=case.ct_series,
        background=case.not_scanned,
        segmentation=case.segmentation,
        label_names=case.label_names if case.segmentation else None,
        densities=case.densities,
    )


def read_parts(case: CohortCase, number: int, like_model: bool | None = None) -> list[PartialXray]:
    """What is known of the frames of the case's X-ray `number`, from 0, completed by what the row says.

    `like_model` says whether images are mirrored about which neither header nor row says anything.
    """
    path = case.xrays[number]
    given: dict[str, Any] = {
        "sid": case.sid,
        "spacing": None if case.spacing is None else (case.spacing[0], case.spacing[1]),
        "mirrored": case.mirrored,
        "scale": None if case.bright is None else BRIGHT[case.bright],
        "subtract": case.subtract if case.mask_frames is None else case.mask_frames,
    }
    found = read_run(path, **given) if case.frame == EACH else [read_xray_parts(path, frame=case.frame, **given)]
    return [_completed(case, part, number, like_model) for part in found]


def of_file(given: Sequence[str], number: int) -> str | None:
    """What was given once for all X-rays of a case, or once for each; None where nothing was."""
    return None if not given else given[number if len(given) > 1 else 0]


def _completed(case: CohortCase, part: PartialXray, number: int, like_model: bool | None) -> PartialXray:
    if like_model is not None and case.mirrored is None and part.origins["mirrored"] != "derived":
        part = part.shown(like_model, "assumed")
    if case.c_arm is not None:
        part = with_c_arm(part, c_arm(case.c_arm))
    calibration = of_file(case.calibration, number)
    if calibration is None:
        return part
    return with_calibration(
        part, read_calibration(calibration, size=part.size, undistorted=case.undistorted, unit=case.calibration_unit)
    )


def _camera(cases: Sequence[CohortCase]) -> Intrinsics:
    """Of the X-ray that shows the geometry: the one named for it, else the first that can be read, else a usual one."""
    if cases[0].geometry is not None:
        shown = dataclasses.replace(cases[0], xrays=(cases[0].geometry,), frame=0)
        return whole(read_parts(shown, 0)[0], cases[0].geometry).intrinsics
    for case in cases:
        for number, path in enumerate(case.xrays):
            try:
                return whole(read_parts(case, number)[0], path).intrinsics
            except InputError:
                continue
    return _USUAL


def _go_on(folder: Path, case: CohortCase) -> None:
    """Train what is left of the time; nothing where the model is finished."""
    done = float((read_card(folder)["training"] or {}).get("seconds", 0.0))
    if done < 60 * case.minutes:
        resume_training(folder, volume=read_volume(case.volume, reading_of_case(case)), minutes=case.minutes)
