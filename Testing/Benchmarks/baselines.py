"""Our refinement beside xvr's and PSSS's recipes: the same X-rays, starts and renderer, so that only the refinement differs.

Every method starts from the bank's best pose. On the first few X-rays two more stand beside them: PSSS's recipe with the steps of its
published program, and nanodrr's own Registration with its own renderer and xvr's recipe, which stops at 128 px, since at 256 px one
of its steps takes seconds on a CPU. The X-rays are those of PSSS's protocol, made by nanodrr; the truth reaches no step.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nanodrr.drr import DRR
from nanodrr.registration import Registration as NanodrrRegistration
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.metrics import mtre, wilson_interval
from XVRegistrationLib.evaluation.patients import load_patient
from XVRegistrationLib.evaluation.protocol import fingerprint
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import protocol_xrays, xrays_fingerprint
from XVRegistrationLib.evaluation.run_folder import code_fingerprint
from XVRegistrationLib.evaluation.simulation import NanodrrRenderer
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.conventions import nanodrr_camera
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.resample import resample
from XVRegistrationLib.registration.bank import best_of_bank
from XVRegistrationLib.registration.baselines import (
    PSSS_AS_RELEASED,
    XVR,
    ascend,
    register_like_psss,
    register_like_xvr,
    xvr_steps,
)
from XVRegistrationLib.registration.correlation import xvr_presented, xvr_similarity
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.objective import Estimates
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.search import prepare_xray, search
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

    Method = Callable[[Xray, NDArray[np.float64]], "Registration | Found"]

OURS, XVR_RECIPE = "ours", "xvr's recipe"
PSSS_RECIPE, NANODRR = "PSSS's recipe", "nanodrr's Registration, to 128 px"
_AS_RELEASED = "PSSS's, steps as released"
_FEW = 3  # X-rays for the methods that only stand beside the others
_NANODRR_SCALES = 2
_FILE = "baselines.json"


@dataclass(frozen=True, eq=False)
class Found:
    """Where a method ended, (4, 4) camera -> RAS, and after how many renders."""

    pose: NDArray[np.float64]
    renders: int


def run(data: Path, output: Path, count: int) -> list[dict[str, Any]]:
    """Print and save the table: method, renders, seconds, error, success rates with 95 % Wilson intervals; its rows.

    X-rays that the same code has been through before are kept.
    """
    protocol = read_protocol(find_protocol("psss"))
    protocol = dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=count))
    patient = load_patient(protocol, data)
    settings = protocol.registration
    model = prepare_model(patient.volume, protocol.intrinsics, protocol.view, protocol.sod, settings.range)
    with counting("X-rays by nanodrr") as done:
        xrays = protocol_xrays(protocol, patient.volume, output / "protocol-xrays", done)
    methods = _methods(model, NanodrrRenderer(patient.volume))
    mark = fingerprint(xrays_fingerprint(protocol, patient.volume), code_fingerprint(), versions())
    few = min(_FEW, (count + 1) // 2)
    rows = _kept(output / _FILE, mark, {case.xray.name for case in xrays})
    with counting("X-rays by every method") as done:
        for i, case in enumerate(xrays):
            if not any(row["xray"] == case.xray.name for row in rows):
                chosen = {k: m for k, m in methods.items() if i < few or k not in (_AS_RELEASED, NANODRR)}
                rows += _by_every_method(case, _best_of_bank(model, case.xray), chosen, patient.points)
                write_json(output / _FILE, {"mark": mark, "rows": rows})
            done(i + 1, count)
    _print(rows, list(methods), count)
    return rows


def _by_every_method(
    case: TrueXray, start: NDArray[np.float64], methods: dict[str, Method], points: NDArray[np.float64]
) -> list[dict[str, Any]]:
    rows = []
    for name, method in methods.items():
        began = time.perf_counter()
        found = method(case.xray, start)
        seconds = time.perf_counter() - began
        errors = (mtre(p, case.true_pose, points) for p in (start, found.pose))
        row = dict(zip(("start_mm", "mtre_mm"), errors, strict=True))
        rows.append({"xray": case.xray.name, "method": name, "renders": found.renders, "seconds": seconds, **row})
    return rows


def _kept(path: Path, mark: str, names: set[str]) -> list[dict[str, Any]]:
    """Rows of these X-rays that the same code left before."""
    if not path.is_file():
        return []
    content = json.loads(path.read_text("utf-8"))
    same = isinstance(content, dict) and content.get("mark") == mark
    return [row for row in content["rows"] if row["xray"] in names] if same else []


def _methods(model: PatientModel, renderer: NanodrrRenderer) -> dict[str, Method]:
    return {
        OURS: partial(_ours, model),
        "ours, from all that the bank proposes": lambda xray, _: register_xray(model, xray, ("bank",)),
        XVR_RECIPE: partial(register_like_xvr, model),
        PSSS_RECIPE: partial(register_like_psss, model),
        _AS_RELEASED: partial(register_like_psss, model, recipe=PSSS_AS_RELEASED),
        NANODRR: partial(_nanodrr, renderer),
    }


def _ours(model: PatientModel, xray: Xray, start: NDArray[np.float64]) -> Found:
    """Our refinement from that start alone, without the hypotheses that a registration would put beside it."""
    pivots = np.array([model.view.isocenter], dtype=np.float64)
    found = search([model.pyramid], [prepare_xray(xray)], pivots, Estimates.at(start[None]))
    return Found(found.estimates.poses[0, 0], found.renders)


def _best_of_bank(model: PatientModel, xray: Xray) -> NDArray[np.float64]:
    seen, _ = resample(torch.from_numpy(line_integral(xray)), xray.intrinsics, model.bank.intrinsics)
    return best_of_bank(model.bank, seen, 1)[0]


def _nanodrr(renderer: NanodrrRenderer, xray: Xray, start: NDArray[np.float64]) -> Found:
    """nanodrr's registration module climbs xvr's similarity with xvr's steps; pose (4, 4) and renders."""
    image = torch.from_numpy(line_integral(xray))
    camera = xray.intrinsics.fitted(XVR.pixels[0])
    drr = DRR.from_carm_intrinsics(**nanodrr_camera(camera))
    width, height = camera.size
    torch.manual_seed(0)  # its first perturbation is a tiny random one
    module = NanodrrRegistration(
        renderer._subject, torch.from_numpy(start)[None].float(), drr.k_inv, drr.sdd, height, width
    )
    renders = 0
    for n, (pixels, divisor) in enumerate(zip(XVR.pixels[:_NANODRR_SCALES], XVR.divisors, strict=False)):
        if n > 0:
            module.rescale_(pixels / XVR.pixels[n - 1])
        fixed = xvr_presented(resample(image, xray.intrinsics, xray.intrinsics.fitted(pixels))[0])
        likeness = partial(_nanodrr_likeness, module, fixed)
        for _ in ascend(xvr_steps(module._rot, module._xyz, XVR, divisor), likeness, XVR.iterations[n]):
            renders += 1
    return Found(module.pose[0].detach().double().numpy(), renders)


def _nanodrr_likeness(module: NanodrrRegistration, fixed: torch.Tensor) -> torch.Tensor:
    return xvr_similarity(xvr_presented(module(backend="torch")[0, 0]), fixed)


def _print(rows: list[dict[str, Any]], methods: list[str], count: int) -> None:
    table = Table(
        title=f"{count} X-rays of PSSS's protocol by nanodrr, from the bank's best pose; 95 % Wilson intervals"
    )
    for column in (
        "method",
        "renders",
        "seconds",
        "start, mm",
        "median, mm",
        "95 %, mm",
        "< 1 mm",
        "< 2 mm",
        "< 10 mm",
    ):
        table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        renders, seconds, starts, errors = (
            np.array([row[key] for row in own], dtype=float) for key in ("renders", "seconds", "start_mm", "mtre_mm")
        )
        table.add_row(
            method,
            f"{np.median(renders):.0f}",
            f"{np.median(seconds):.1f}",
            f"{np.median(starts):.1f}",
            f"{np.median(errors):.2f}",
            f"{np.percentile(errors, 95):.2f}",
            *(_rate(int((errors < limit).sum()), len(errors)) for limit in (1, 2, 10)),
        )
    console = Console(width=170)
    console.print(table)
    for method in (XVR_RECIPE, PSSS_RECIPE):
        console.print(f"{method} takes {ratio(rows, method):.1f} times our renders (median of the X-rays' ratios).")


def ratio(rows: Sequence[Mapping[str, Any]], method: str) -> float:
    """How many times our renders a method takes: median of the X-rays' ratios."""
    ours = {row["xray"]: row["renders"] for row in rows if row["method"] == OURS}
    return float(np.median([row["renders"] / ours[row["xray"]] for row in rows if row["method"] == method]))


def _rate(successes: int, n: int) -> str:
    low, high = wilson_interval(successes, n)
    return f"{successes}/{n} ({100 * low:.0f}-{100 * high:.0f} %)"
