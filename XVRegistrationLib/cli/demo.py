"""`xvregistration demo`: the main job, end to end, on a real CT with X-rays by an independent renderer."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.demo_scene import write_scene
from XVRegistrationLib.cli.progress import console, counting, print_verdict, training
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.demo_data import ATTRIBUTION, demo_data
from XVRegistrationLib.evaluation.drawing import Structures, draw_registration
from XVRegistrationLib.evaluation.metrics import farthest_points, mpd, mtre
from XVRegistrationLib.evaluation.pictures import training_curve
from XVRegistrationLib.evaluation.polyenergetic_xrays import renderer_of
from XVRegistrationLib.evaluation.report import Case, summary_line, write_report
from XVRegistrationLib.evaluation.report_table import console_table, verdict_in_words
from XVRegistrationLib.evaluation.simulation import simulate_xrays
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names, read_volume
from XVRegistrationLib.imaging.xray_files import read_xray
from XVRegistrationLib.jobs.checks import check_minutes
from XVRegistrationLib.jobs.train_patient import start_patient, train_patient
from XVRegistrationLib.registration.card import DEFAULT_SOD
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.spectrum import Tube
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import LabelMap, Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

# A flat-panel C-arm: 39 cm square, 0.76 mm pixels.
INTRINSICS = Intrinsics.centered(1020.0, (390 / 512, 390 / 512), (512, 512))
_MARK = "made-by-the-demo.txt"
POSE_RANGE = PoseRange((20.0, 20.0, 20.0), (30.0, 30.0, 30.0))

_BONE_PREFIXES = ("vertebrae_", "rib_", "scapula_", "clavicula_", "sternum", "humerus_", "sacrum", "hip_", "skull")
_OUTLINED = (
    *(f"vertebrae_{v}" for v in ("T4", "T6", "T8", "T10", "T12", "L1")),
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in (5, 8)),
    "clavicula_left",
    "clavicula_right",
    "heart",
    "aorta",
)
_TARGETS = {"T6": "vertebrae_T6", "T9": "vertebrae_T9", "T12": "vertebrae_T12", "heart": "heart"}


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulation knows and the registration does not."""

    poses: dict[str, NDArray[np.float64]]
    """X-ray's name -> true pose (4, 4)."""
    points: NDArray[np.float64]
    """(100, 3) farthest-point samples of the bones, RAS mm: the points of the mTRE."""


def run(options: argparse.Namespace) -> int:
    """Learn the patient, register X-rays that come as files, and write scene, pictures and report."""
    began = time.monotonic()
    check_minutes(options.minutes)
    if options.xrays < 1:
        raise InputError(f"At least one X-ray is needed, not {options.xrays}.")
    tube = None if options.kvp is None else Tube(options.kvp)
    output = Path(options.output)
    _check_output(output)
    data = demo_data(Path(options.data))
    volume = read_volume(data.ct)
    labels = read_label_map(data.labels, read_label_names(data.label_names))
    _empty(output)

    truth = _simulate(volume, labels, output / "xrays", options.xrays, options.seed, tube)
    with counting("Bank") as count:
        model = start_patient(output / "model", volume, INTRINSICS, pose_range=POSE_RANGE, progress=count)
    if options.minutes > 0:
        with training() as progress:
            model = train_patient(output / "model", model, minutes=options.minutes, progress=progress)
    curve = _training_curve(output, model)

    xrays = [read_xray(path) for path in sorted((output / "xrays").glob("*.dcm"))]
    structures = Structures.of(
        labels, labels.values([n for n in labels.names.values() if n in _OUTLINED or _is_bone(n)])
    )
    targets = [(name, labels.points(labels.values([label])).mean(axis=0)) for name, label in _TARGETS.items()]
    cases, registered = [], []
    for xray in xrays:
        result = register_xray(model, xray)
        case = _judge(result, truth)
        draw_registration(
            output / case.picture, model, xray, result, structures, _OUTLINED, targets, title=_title(case)
        )
        cases.append(case)
        registered.append((xray, result))
        print_verdict(result, f"mTRE {case.mtre_mm:.2f} mm, {result.seconds:.1f} s")

    console.print(console_table(cases))
    console.print(summary_line(cases))
    bones = [n for n in labels.names.values() if _is_bone(n)]
    picture = write_scene(output, volume, labels, registered, structures, targets, bones)
    report = write_report(
        output,
        cases,
        title="XVRegistration demo: chest CT and simulated X-rays",
        training_curve=curve,
        scene_picture=picture,
        facts=_facts(model, options),
        versions=versions(),
    )
    console.print(f"Scene, pictures and report are in {output}; open {report}.")
    console.print(f"In all {time.monotonic() - began:.0f} s; peak memory {_peak_memory():.1f} GiB.")
    return 0


def _peak_memory() -> float:
    """The most memory that this process has held, GiB."""
    import resource  # not on Windows, where the demo does not run

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def bone_points(labels: LabelMap) -> NDArray[np.float64]:
    """The points (100, 3) of the mTRE: farthest-point samples of the bones' voxels, RAS mm."""
    return farthest_points(labels.points(labels.values([n for n in labels.names.values() if _is_bone(n)])))


def _is_bone(name: str) -> bool:
    return name.startswith(_BONE_PREFIXES)


def _check_output(output: Path) -> None:
    """Raise InputError unless the folder is new, empty, or an earlier demo's."""
    if output.exists() and not (output.is_dir() and ((output / _MARK).exists() or not any(output.iterdir()))):
        raise InputError(f"{output} exists and is not an earlier demo's output; choose another folder with -o.")


def _empty(output: Path) -> None:
    """Make the output folder anew, and mark it as the demo's own."""
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    (output / _MARK).write_text("Made by `xvregistration demo`, which replaces this whole folder when it runs again.\n")


def _simulate(volume: Volume, labels: LabelMap, folder: Path, count: int, seed: int, tube: Tube | None) -> Truth:
    """Write X-rays as DICOM files that hold geometry and no pose; the truth stays here."""
    folder.mkdir()
    center = volume.center
    view = NominalView("AP", (float(center[0]), float(center[1]), float(center[2])), DEFAULT_SOD)
    renderer = renderer_of(volume, tube)
    with counting("X-rays by nanodrr") as progress:
        simulated = simulate_xrays(renderer, view, INTRINSICS, count, seed, POSE_RANGE, progress)
    poses = {}
    for i, xray in enumerate(simulated):
        name = f"xray-{i + 1:02d}"
        write_dicom_dx(folder / f"{name}.dcm", xray.pixels, xray.intrinsics, bits_stored=xray.detector.bits)
        poses[name] = xray.true_pose
    return Truth(poses, bone_points(labels))


def _judge(result: Registration, truth: Truth) -> Case:
    true_pose = truth.poses[result.name]
    return Case(
        result.name,
        result,
        start_errors_mm={s.kind: mtre(s.pose, true_pose, truth.points) for s in result.starts},
        mtre_mm=mtre(result.pose, true_pose, truth.points),
        mpd_mm=mpd(result.pose, true_pose, result.intrinsics, truth.points),
        picture=f"{result.name}.png",
    )


def _title(case: Case) -> str:
    r = case.registration
    return f"{case.name}: {verdict_in_words(r)}, mTRE {case.mtre_mm:.2f} mm, similarity {r.similarity:.3f}"


def _training_curve(output: Path, model: PatientModel) -> str:
    history = model.training.get("history", [])
    if not history:
        return ""
    training_curve(output / "training.png", [(h["seconds"], h["loss"], h["validation"]) for h in history])
    return "training.png"


def _facts(model: PatientModel, options: argparse.Namespace) -> dict[str, str]:
    rotation, shift = POSE_RANGE.rotation[0], POSE_RANGE.translation[0]
    energies = "one energy" if options.kvp is None else f"{options.kvp:g} kVp"
    return {
        "Data": ATTRIBUTION,
        "X-rays": f"nanodrr, an independent renderer; {energies}; scatter, Poisson noise, blur, gamma; +-{shift:g} mm, +-{rotation:g} degrees",
        "Training": f"{options.minutes:g} minutes on {model.training.get('images', 0):,} X-rays rendered on the fly",
        "Bank": f"{len(model.bank.poses)} renders",
        "mTRE": "mean over 100 farthest-point samples of the bones of |T_est^-1 x - T_true^-1 x|",
    }
