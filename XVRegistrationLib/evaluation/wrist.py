"""How well registrations of the wrist's radius agree with the reference: from far-off starts, in two views and in each alone."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.dataset_cases import write_summary
from XVRegistrationLib.evaluation.measures import measure, refused
from XVRegistrationLib.evaluation.metrics import farthest_points
from XVRegistrationLib.evaluation.protocol import StartError
from XVRegistrationLib.evaluation.protocol_xrays import draw_motions
from XVRegistrationLib.evaluation.run_folder import RunFolder, data_mark, source_fingerprint
from XVRegistrationLib.evaluation.wrist_data import read_wrist
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.objective import DepthPrior
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.several import register_views

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.measures import CaseRow
    from XVRegistrationLib.evaluation.summary import Summary
    from XVRegistrationLib.evaluation.wrist_data import Wrist
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

STARTS = 48
START = StartError(20.0, 15.0)
"""From the reference."""
DEPTH_SD_MM = 9.0
"""Of the starts' depth: their shifts are 10 to 20 mm long, in all directions."""
TWO_VIEWS, FIRST, SECOND = "two views", "camera 1", "camera 2"
_SEED = 0


def evaluate_wrist(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    starts: int = STARTS,
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Summary]:
    """Register the radius from `starts` starts each, in both views together and in each alone; a summary for each.

    Starts lie up to 20 mm and 15 degrees from the reference. Each way has a folder in `output` with results.csv,
    summary.json and curves; errors are against the reference, so that they are agreement, not accuracy, and its files are
    named so. Registrations of the same starts, data and code are kept, so that a run that was ended goes on; with `fresh` they
    are done again. `progress(way, done, starts)` is called after each registration.
    """
    wrist, output = read_wrist(folder), Path(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the evaluation.")
    points = farthest_points(wrist.points)
    model_of = cache(lambda camera: _model(wrist, camera))  # made only where a start still waits
    drawn = draw_motions(starts, wrist.points.mean(axis=0), START, np.random.default_rng(_SEED))
    code = source_fingerprint("evaluation/wrist.py", "evaluation/wrist_data.py")
    summaries = {}
    for way in (TWO_VIEWS, FIRST, SECOND):
        camera = 1 if way == SECOND else 0
        own = output / way.replace(" ", "-")
        run = RunFolder(own, data_mark(folder), starts, code, fresh=fresh)
        names = [f"{way} {i:02d}" for i in range(starts)]
        for i, (name, motion) in enumerate(zip(names, drawn, strict=True)):
            if name in run.rows:
                continue
            run.keep(_row(name, way, wrist, model_of(camera), motion, camera, points))
            if progress is not None:
                progress(way, i + 1, starts)
        summaries[way] = write_summary(own, [run.rows[name] for name in names])
    return summaries


def _row(
    name: str,
    way: str,
    wrist: Wrist,
    model: PatientModel,
    motion: NDArray[np.float64],
    camera: int,
    points: NDArray[np.float64],
) -> CaseRow:
    """Register from one start, then measure against the reference."""
    xray, reference = wrist.xrays[camera], wrist.reference[camera]
    given = {"given": motion @ reference}
    try:
        result: Registration
        if way == TWO_VIEWS:
            result = register_views(model, wrist.xrays, wrist.relative, (), given, surroundings=True).views[0]
        else:
            # One view says next to nothing about depth; the start does, as far as starts are right.
            depth = transform_points(invert(given["given"]), model.view.isocenter)[2]
            known = DepthPrior(float(depth), DEPTH_SD_MM)
            result = register_xray(model, xray, (), given, surroundings=True, depth=known)
    except InputError as e:
        return refused(name, str(e))
    return dataclasses.replace(measure(result, xray, reference, points, model), name=name)


def _model(wrist: Wrist, camera: int) -> PatientModel:
    """The model of the bone for one of the cameras; its bank is not used."""
    return prepare_model(
        wrist.volume, wrist.xrays[camera].intrinsics, sod=wrist.distances[camera], pose_range=PoseRange(), bank_size=1
    )
