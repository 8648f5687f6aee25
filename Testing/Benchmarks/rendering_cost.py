"""How a render's time grows with pixels and with the batch, drawn; and what the first use costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from rendering_table import Line, interleaved, print_lines
from rich.console import Console

from XVRegistrationLib.files import replacing
from XVRegistrationLib.rendering.render import render, render_with_jacobian

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid

_SIDES = (64, 128, 256, 512)
_BATCHES = (1, 4, 16)
_BATCH_SIDE = 64
_VALUE, _DERIVATIVES = "value", "value + all six derivatives"
_FIRST = """
import time
began = time.perf_counter()
import numpy as np
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.rendering.grid import grid_from_density
from XVRegistrationLib.rendering.render import render, render_with_jacobian
grid = grid_from_density(np.full((8, 8, 8), 0.02, np.float32), np.eye(4))
camera, pose = Intrinsics.centered(1000.0, (2.0, 2.0), (8, 8)), np.eye(4)[None]
imported = time.perf_counter()
render(grid, pose, camera)
render_with_jacobian(grid, pose, camera, grid.center)
print(imported - began, time.perf_counter() - imported)
"""


def curves(
    grid: DensityGrid, poses: NDArray[np.float64], camera: Intrinsics, device: str, output: Path
) -> list[dict[str, Any]]:
    """Print, draw and return the times of images of several sizes and of several at once."""
    calls: dict[str, Callable[[], object]] = {}
    kinds: dict[str, Callable[..., object]] = {
        _VALUE: render,
        _DERIVATIVES: partial(render_with_jacobian, pivot=grid.center),
    }
    places = [(side, 1) for side in _SIDES] + [(_BATCH_SIDE, batch) for batch in _BATCHES[1:]]
    for kind, make in kinds.items():
        for side, batch in places:
            calls[f"{kind} {side} {batch}"] = partial(
                make, grid, poses[:batch], intrinsics=camera.resized((side, side))
            )
    times = {name: 1e3 * median(seconds) for name, seconds in interleaved(calls, device).items()}
    lines = [
        Line(kind, f"{side} x {side}", batch, times[f"{kind} {side} {batch}"])
        for kind in kinds
        for side, batch in places
    ]
    _draw(times, output / "rendering-cost.png")
    return print_lines("What pixels and a batch cost", lines)


def _draw(times: dict[str, float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    sides, batches = figure.subplots(1, 2)
    for kind in (_VALUE, _DERIVATIVES):
        for axes, xs, ys in (
            (sides, [s * s for s in _SIDES], [times[f"{kind} {s} 1"] for s in _SIDES]),
            (batches, list(_BATCHES), [times[f"{kind} {_BATCH_SIDE} {b}"] for b in _BATCHES]),
        ):
            (drawn,) = axes.loglog(xs, ys, "o-", label=kind)
            axes.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], ":", color=drawn.get_color(), alpha=0.7)
    for axes in (sides, batches):
        axes.yaxis.set_major_formatter("{x:g}")  # plain numbers: powers need fonts that not every computer has
        axes.minorticks_off()
    sides.set_xticks([s * s for s in _SIDES], labels=[f"{s}²" for s in _SIDES])
    batches.set_xticks(_BATCHES, labels=[str(b) for b in _BATCHES])
    sides.set(xlabel="pixels", ylabel="ms", title="one image")
    batches.set(xlabel="batch", title=f"images of {_BATCH_SIDE} x {_BATCH_SIDE} pixels")
    sides.legend(title="dotted: in proportion", fontsize=8, title_fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def first_use() -> list[dict[str, Any]]:
    """Print and return the seconds of the first render of a computer, which compiles, and of a process."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for what in ("the first on a computer: compiled", "the first in a process: loaded"):
            environment = {**os.environ, "WARP_CACHE_PATH": cache}
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", _FIRST], capture_output=True, text=True, check=True, env=environment
            )
            imported, rendered = (float(word) for word in done.stdout.split())
            rows.append({"what": what, "imports_s": imported, "renders_s": rendered})
            Console(width=150).print(
                f"{what}: {rendered:.1f} s for an image and one with derivatives, after {imported:.1f} s of imports "
                f"({time.perf_counter() - began:.1f} s in all)"
            )
    return rows
