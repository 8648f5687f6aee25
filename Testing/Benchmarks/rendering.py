"""Our renders beside nanodrr's on the CPU: time, and error against a dense float64 integral of the same trilinear volume."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from nanodrr.data import Subject
from nanodrr.drr import DRR
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import nanodrr_camera
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.attenuation import linear_attenuation
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names, read_volume
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.body import body_of, highest_by_slices
from XVRegistrationLib.rendering.grid import AIR, DensityGrid, grid_from_density
from XVRegistrationLib.rendering.labels import label_grid, label_thickness
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian, sample_distance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import LabelMap

_ROUNDS = 7
_CAMERA = Intrinsics.centered(1020.0, (1.95, 1.95), (200, 200))
_LABELS = 20
_BANK = 4096
_ORACLE_PIXELS = 24
_ORACLE_STEP = 0.05  # mm


def run(data: Path, output: Path) -> None:
    """Print and save the tables: beside nanodrr, what the registration and the panel ask for, labels."""
    volume = read_volume(demo_data(data).ct)
    density = linear_attenuation(volume.array)
    emptied = _emptied(density)
    grid = grid_from_density(density, volume.ijk_to_ras)
    center = volume.center
    view = NominalView("AP", (float(center[0]), float(center[1]), float(center[2])), 700.0)
    pose = draw_poses(view, PoseRange(), 1, np.random.default_rng(1))
    rows = _beside_nanodrr("512x512x133", emptied, volume.ijk_to_ras, grid, pose)
    rows += _tasks(grid, view, pose)
    rows += _label_rows(data, grid, pose)
    rows += _beside_nanodrr("512x512x512", *_cubic(emptied, volume.ijk_to_ras), pose)
    write_json(output / "rendering.json", rows)


def _emptied(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the air around the body: a scanner's noise, which nobody renders."""
    body = body_of(highest_by_slices(density.__getitem__, len(density)), density.shape, AIR, "volume")
    emptied = np.zeros_like(density)
    for slices, part in body.cut(density.__getitem__):
        first = body.box[0].start - 1
        emptied[first + slices.start : first + slices.stop, *body.box[1:]] = part
    return emptied


def _cubic(
    density: NDArray[np.float32], ijk_to_ras: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], DensityGrid]:
    """The same body in as many slices as there are columns, its matrix, and its grid."""
    slices = density.shape[2]
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(density)[None, None], (slices, *density.shape[1:]), mode="trilinear", align_corners=True
    )[0, 0].numpy()
    matrix = ijk_to_ras @ np.diag([1.0, 1.0, (density.shape[0] - 1) / (slices - 1), 1.0])
    return _emptied(fine), matrix, grid_from_density(fine, matrix)


def _beside_nanodrr(
    name: str,
    density: NDArray[np.float32],
    ijk_to_ras: NDArray[np.float64],
    grid: DensityGrid,
    pose: NDArray[np.float64],
) -> list[dict[str, str | float]]:
    """Print and return: method, ms, ratio to nanodrr, error against the dense integral of the whole volume."""
    matrix = torch.from_numpy(ijk_to_ras)
    mu = torch.from_numpy(density)[None, None]
    subject = Subject(
        mu, torch.zeros(1, 1, 1, 1, 1), matrix.float(), matrix.inverse().float(),
        Subject._make_voxel_to_grid(mu.shape), torch.zeros(3), max_label=0, convert_to_mu=False,
    )  # fmt: skip

    def nanodrr_value(camera: Intrinsics = _CAMERA) -> torch.Tensor:
        with torch.no_grad():
            return DRR.from_carm_intrinsics(**nanodrr_camera(camera))(subject, torch.from_numpy(pose).float())[:, 0]

    def nanodrr_gradient() -> None:
        rt_inv = torch.from_numpy(pose).float().requires_grad_()
        DRR.from_carm_intrinsics(**nanodrr_camera(_CAMERA))(subject, rt_inv).sum().backward()

    # The oracle sees the whole volume, uncropped, so that cropping counts as an error of ours.
    small = _CAMERA.resized((_ORACLE_PIXELS, _ORACLE_PIXELS))
    whole = DensityGrid(torch.from_numpy(np.pad(density, 1)), ijk_to_ras @ translation([-1, -1, -1]))
    dense = oracle.march(whole, rays_of(whole, pose, small), _ORACLE_STEP, None)[0]

    def error(image: torch.Tensor) -> float:
        return float((image.double() - dense).abs().mean() / dense.abs().mean())

    ours, theirs = error(render(grid, pose, small)), error(nanodrr_value(small))
    calls: dict[str, tuple[Callable[[], object], float]] = {
        "nanodrr 0.1.7, value": (nanodrr_value, theirs),
        "ours, value": (lambda: render(grid, pose, _CAMERA), ours),
        "nanodrr 0.1.7, value + gradient of one scalar by the pose": (nanodrr_gradient, theirs),
        "ours, value + all six derivatives of every pixel": (
            lambda: render_with_jacobian(grid, pose, _CAMERA, grid.center),
            ours,
        ),
    }
    times = interleaved({method: call for method, (call, _) in calls.items()})
    names = list(calls)
    ratios = {
        names[i]: median(a / b for a, b in zip(times[names[i - i % 2]], times[names[i]], strict=True)) for i in range(4)
    }
    table = Table(title=f"200x200 DRR of a chest CT, {name} voxels, {torch.get_num_threads()} threads")
    for column in ("method", "ms (median)", "times faster", "error"):
        table.add_column(column, justify="left" if column == "method" else "right")
    rows: list[dict[str, str | float]] = []
    for method, (_, relative) in calls.items():
        ms = 1e3 * median(times[method])
        rows.append({"volume": name, "method": method, "ms": ms, "ratio": ratios[method], "error": relative})
        table.add_row(method, f"{ms:.0f}", f"{ratios[method]:.1f}", f"{100 * relative:.4f} %")
    Console(width=120).print(table)
    return rows


def _tasks(grid: DensityGrid, view: NominalView, pose: NDArray[np.float64]) -> list[dict[str, str | float]]:
    """Print and return: seconds of a bank, live images a second with their likeness, and how time grows with pixels and batch."""
    pyramid, rows = Pyramid(grid), []
    poses = draw_poses(view, PoseRange(), _BANK, np.random.default_rng(1))
    tiny, live = (_CAMERA.resized((pixels, pixels)) for pixels in (32, 256))
    coarse, fine = (camera.footprint(view.sod) for camera in (tiny, live))
    calls: dict[str, Callable[[], object]] = {
        f"bank of {_BANK} at 32 px": lambda: render(pyramid.matched_to(coarse), poses, tiny, coarse / 2),
        "live at 256 px": lambda: render(pyramid.matched_to(2 * fine), pose, live, 3 * fine),  # as the panel's engine
    }
    for pixels in (64, 128, 256, 512):
        calls[f"{pixels} x {pixels} px"] = partial(render, grid, pose, _CAMERA.resized((pixels, pixels)))
    for batch in (4, 16):
        calls[f"{batch} of 64 x 64 px"] = partial(render, grid, poses[:batch], _CAMERA.fitted(64))
    exact = render(grid, pose, live, 0.1)
    shown = render(pyramid.matched_to(2 * fine), pose, live, 3 * fine)
    likeness = 20 * float(torch.log10((exact.max() - exact.min()) / (exact - shown).square().mean().sqrt()))
    table = Table(title=f"What renders are for, {torch.get_num_threads()} threads; live: PSNR {likeness:.1f} dB")
    for column in ("what", "ms (median)", "a second"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, seconds in interleaved(calls).items():
        rows.append({"method": name, "ms": 1e3 * median(seconds)})
        table.add_row(name, f"{1e3 * median(seconds):.1f}", f"{1 / median(seconds):.1f}")
    Console(width=120).print(table)
    return [*rows, {"method": "live at 256 px", "psnr_db": likeness}]


def _label_rows(data: Path, grid: DensityGrid, pose: NDArray[np.float64]) -> list[dict[str, str | float]]:
    """Print and return: ms and ratio to one image of the same size and step, of 20 labels and of all, in one walk and one by one."""
    files = demo_data(data)
    labels = read_label_map(files.labels, read_label_names(files.label_names))
    step = sample_distance(grid)
    everything = label_grid(labels, sorted(labels.names))
    structures = {
        f"{_LABELS} labels": label_grid(labels, _largest(labels, _LABELS)),
        f"all {len(everything.values)} labels": everything,
    }
    alone = [label_grid(labels, [value]) for value in structures[f"{_LABELS} labels"].values]
    calls: dict[str, Callable[[], object]] = {"one image": lambda: render(grid, pose, _CAMERA, step)}
    for name, found in structures.items():
        calls[f"{name}, one walk"] = partial(label_thickness, found, pose, _CAMERA, step)
    calls[f"{_LABELS} labels, each by itself"] = lambda: [label_thickness(g, pose, _CAMERA, step) for g in alone]
    times = interleaved(calls)
    table = Table(title=f"Thickness of labels, 200x200, {torch.get_num_threads()} threads, step {step:.2f} mm")
    for column in ("what", "ms (median)", "times one image"):
        table.add_column(column, justify="left" if column == "what" else "right")
    rows: list[dict[str, str | float]] = []
    for name, seconds in times.items():
        ratio = median(a / b for a, b in zip(seconds, times["one image"], strict=True))
        rows.append({"method": name, "ms": 1e3 * median(seconds), "times_one_image": ratio})
        table.add_row(name, f"{1e3 * median(seconds):.0f}", f"{ratio:.2f}")
    Console(width=120).print(table)
    return rows


def _largest(labels: LabelMap, count: int) -> list[int]:
    """The label values with the most voxels."""
    voxels = np.bincount(labels.array[labels.array > 0])
    return [int(value) for value in np.argsort(-voxels, kind="stable")[:count]]


def interleaved(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each call in each round, all calls in turn in every round, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(_ROUNDS + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if n > 0:
                times[name].append(time.perf_counter() - began)
    return times
