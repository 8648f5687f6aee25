"""Our renders beside nanodrr's on the CPU: time, and error against a dense float64 integral of the same trilinear volume."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nanodrr.data import Subject
from nanodrr.drr import DRR
from rendering_cost import curves, first_use
from rendering_memory import peaks
from rendering_table import Line, interleaved, print_lines, ratio
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import nanodrr_camera
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.attenuation import linear_attenuation
from XVRegistrationLib.imaging.volume import Volume, read_label_map, read_label_names, read_volume
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.body import body_of, highest_by_slices
from XVRegistrationLib.rendering.grid import AIR, DensityGrid, density_grid
from XVRegistrationLib.rendering.labels import label_grid, label_thickness
from XVRegistrationLib.rendering.materials import material_grids
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian, sample_distance
from XVRegistrationLib.rendering.spectrum import beam
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import LabelMap

_CAMERA = Intrinsics.centered(1020.0, (1.95, 1.95), (200, 200))
_LABELS = 20
_BANK = 4096
_ORACLE_PIXELS = 24
_ORACLE_STEP = 0.05  # mm
_SIZES, _SIZES_CUDA = ((200, 1),), tuple((pixels, batch) for pixels in (200, 512) for batch in (1, 16, 64))
_NAMES = {
    "nanodrr value": "nanodrr 0.1.7, value",
    "value": "ours, value",
    "nanodrr gradient": "nanodrr 0.1.7, value + gradient of one scalar by the pose",
    "derivatives": "ours, value + all six derivatives of every pixel",
}
_MEMORY = (*_NAMES, "polyenergetic")


def run(data: Path, output: Path, device: str = "cpu") -> None:
    """Print and save the tables: beside nanodrr, what the registration and the panel ask for, labels; on a GPU the first."""
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"There is no {device} here; without --device the renders are timed on the processor.")
    volume = read_volume(demo_data(data).ct)
    density = linear_attenuation(volume.array)
    center = volume.center
    view = NominalView("AP", (float(center[0]), float(center[1]), float(center[2])), 700.0)
    poses = draw_poses(view, PoseRange(), _BANK, np.random.default_rng(1))
    grid = density_grid(volume).to(device)
    rows = _beside_nanodrr("512x512x133", volume, _emptied(density), grid, poses, device)
    rows += _polyenergetic(volume, poses, device)
    rows += curves(grid, poses, _CAMERA, device, output)
    if device == "cpu":
        rows += _tasks(grid, view, poses)
        rows += _label_rows(data, grid, poses[:1])
        rows += first_use()
        cubic = _cubic(volume)
        del density, grid, volume
        emptied = _emptied(linear_attenuation(cubic.array))
        rows += _beside_nanodrr("512x512x512", cubic, emptied, density_grid(cubic), poses, device)
    name = "rendering" if device == "cpu" else "rendering-cuda"
    write_json(output / f"{name}.json", {"where": _where(device), "rows": rows, "versions": versions()})


def _emptied(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the air around the body: a scanner's noise, which nobody renders."""
    body = body_of(highest_by_slices(density.__getitem__, len(density)), density.shape, AIR, "volume")
    emptied = np.zeros_like(density)
    for slices, part in body.cut(density.__getitem__):
        first = body.box[0].start - 1
        emptied[first + slices.start : first + slices.stop, *body.box[1:]] = part
    return emptied


def _cubic(volume: Volume) -> Volume:
    """The same body in as many slices as there are columns."""
    slices, depth = volume.array.shape[2], volume.array.shape[0]
    fine = np.empty((slices, *volume.array.shape[1:]), dtype=np.int16)
    places = np.linspace(0, depth - 1, slices)
    for k, place in enumerate(places):
        low = min(int(place), depth - 2)
        share = np.float32(place - low)
        fine[k] = np.rint(volume.array[low] * (1 - share) + volume.array[low + 1] * share)
    return Volume(fine, volume.ijk_to_ras @ np.diag([1.0, 1.0, (depth - 1) / (slices - 1), 1.0]), "cubic")


def _beside_nanodrr(
    name: str, volume: Volume, density: NDArray[np.float32], grid: DensityGrid, poses: NDArray[np.float64], device: str
) -> list[dict[str, Any]]:
    """Print and return the lines of images beside nanodrr's, of the volume without the air around the body."""
    matrix, pose = volume.ijk_to_ras, poses[:1]
    subject = _subject(density, matrix, device)
    # The oracle sees the whole volume, uncropped, so that cropping counts as an error of ours.
    small = _CAMERA.resized((_ORACLE_PIXELS, _ORACLE_PIXELS))
    whole = DensityGrid(torch.from_numpy(np.pad(density, 1)), matrix @ translation([-1, -1, -1]))
    dense = oracle.march(whole, rays_of(whole, pose, small), _ORACLE_STEP, None)[0]
    del whole

    def error(image: torch.Tensor) -> float:
        return float((image.detach().cpu().double() - dense).abs().mean() / dense.abs().mean())

    errors = error(_nanodrr(subject, pose, small, gradient=False)), error(render(grid, pose, small))
    memory = peaks(volume, pose, _CAMERA, _MEMORY) if device == "cpu" else {}
    lines = []
    for pixels, batch in _SIZES if device == "cpu" else _SIZES_CUDA:
        camera, some = _CAMERA.resized((pixels, pixels)), poses[:batch]
        calls: dict[str, Callable[[], object]] = {
            "nanodrr value": partial(_nanodrr, subject, some, camera, gradient=False),
            "value": partial(render, grid, some, camera),
            "nanodrr gradient": partial(_nanodrr, subject, some, camera, gradient=True),
            "derivatives": partial(render_with_jacobian, grid, some, camera, grid.center),
        }
        taken = memory or {way: _cuda_peak(call, device) for way, call in calls.items()}
        times = interleaved(calls, device)
        for n, way in enumerate(calls):
            against = ratio(times, list(calls)[n - n % 2], way)
            ms = 1e3 * median(times[way])
            lines.append(Line(_NAMES[way], f"{pixels} x {pixels}", batch, ms, against, errors[n % 2], taken[way]))
    rows = print_lines(f"DRRs of a chest CT, {name} voxels, {_where(device)}", lines)
    volume_mib = volume.array.size * 4 / 2**20
    said = f"The volume has {volume_mib:.0f} MiB as single-precision numbers"
    if memory:
        said += f"; polyenergetic images with derivatives take {memory['polyenergetic']:.0f} MiB"
    Console(width=150).print(f"{said}.")
    return [*rows, {"table": name, "volume_mib": volume_mib, "peaks_mib": memory}]


def _subject(density: NDArray[np.float32], ijk_to_ras: NDArray[np.float64], device: str) -> Subject:
    matrix, mu = torch.from_numpy(ijk_to_ras), torch.from_numpy(density)[None, None]
    return Subject(
        mu, torch.zeros(1, 1, 1, 1, 1), matrix.float(), matrix.inverse().float(),
        Subject._make_voxel_to_grid(mu.shape), torch.zeros(3), max_label=0, convert_to_mu=False,
    ).to(device)  # fmt: skip


def _nanodrr(subject: Subject, poses: NDArray[np.float64], camera: Intrinsics, *, gradient: bool) -> torch.Tensor:
    """Its images, and with `gradient` that of their sum by the poses: on a GPU by its own kernel, which Triton compiles."""
    device = subject.image.device
    rt_inv = torch.from_numpy(poses).float().to(device).requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        image: torch.Tensor = DRR.from_carm_intrinsics(**nanodrr_camera(camera)).to(device)(subject, rt_inv)[:, 0]
        if gradient:
            image.sum().backward()
    return image


def _cuda_peak(call: Callable[[], object], device: str) -> float:
    call()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def _where(device: str) -> str:
    return f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name(device)


def _polyenergetic(volume: Volume, poses: NDArray[np.float64], device: str) -> list[dict[str, Any]]:
    """Print and return the time of a 256 x 256 image of 16 bins of energy."""
    grids, camera = material_grids(volume).to(device), _CAMERA.resized((256, 256))
    seen = beam(materials=grids.materials)
    call = partial(render, grids, poses[:1], camera, beam=seen)
    ms = 1e3 * median(interleaved({"image": call}, device)["image"])
    return print_lines(f"Polyenergetic, {_where(device)}", [Line("16 bins, two materials", "256 x 256", 1, ms)])


def _tasks(grid: DensityGrid, view: NominalView, poses: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Print and return: seconds of a bank, live images a second with their likeness."""
    pyramid, pose = Pyramid(grid), poses[:1]
    tiny, live = (_CAMERA.resized((pixels, pixels)) for pixels in (32, 256))
    coarse, fine = (camera.footprint(view.sod) for camera in (tiny, live))
    calls: dict[str, Callable[[], object]] = {
        "bank": lambda: render(pyramid.matched_to(coarse), poses, tiny, coarse / 2),
        "live": lambda: render(pyramid.matched_to(2 * fine), pose, live, 3 * fine),  # as the panel's engine
    }
    exact = render(grid, pose, live, 0.1)
    shown = render(pyramid.matched_to(2 * fine), pose, live, 3 * fine)
    likeness = 20 * float(torch.log10((exact.max() - exact.min()) / (exact - shown).square().mean().sqrt()))
    times = {name: 1e3 * median(seconds) for name, seconds in interleaved(calls).items()}
    rows = print_lines(
        f"What renders are for, {torch.get_num_threads()} threads; live: PSNR {likeness:.1f} dB",
        [
            Line("a bank", "32 x 32", _BANK, times["bank"]),
            Line("live", "256 x 256", 1, times["live"], error=10 ** (-likeness / 20)),
        ],
    )
    return [*rows, {"method": "live at 256 px", "psnr_db": likeness}]


def _label_rows(data: Path, grid: DensityGrid, pose: NDArray[np.float64]) -> list[dict[str, Any]]:
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
    rows: list[dict[str, Any]] = []
    for name, seconds in times.items():
        share = ratio(times, name, "one image")
        rows.append({"method": name, "ms": 1e3 * median(seconds), "times_one_image": share})
        table.add_row(name, f"{1e3 * median(seconds):.0f}", f"{share:.2f}")
    Console(width=120).print(table)
    return rows


def _largest(labels: LabelMap, count: int) -> list[int]:
    """The label values with the most voxels."""
    voxels = np.bincount(labels.array[labels.array > 0])
    return [int(value) for value in np.argsort(-voxels, kind="stable")[:count]]
