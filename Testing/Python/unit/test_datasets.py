"""Other people's cameras and data sets: landmarks fall where their formulas say, in files written here in their layouts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest

pytest.importorskip("h5py")

import h5py

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation import dataset_cases
from XVRegistrationLib.evaluation.dataset_cases import DatasetCase, Search, evaluate_cases
from XVRegistrationLib.evaluation.deepfluoro import SEARCH, deepfluoro_cases
from XVRegistrationLib.evaluation.ljubljana import ljubljana_cases
from XVRegistrationLib.evaluation.measures import read_rows
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.cameras_of_others import (
    camera_from_matrices,
    cropped,
    turned,
)
from XVRegistrationLib.geometry.rigid import increment, invert, rigid, rotation_from_vector, transform_points
from XVRegistrationLib.geometry.views import NominalView, PoseRange, relative_motion
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel


def pixels_of(k: NDArray[np.float64], e: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (N, 2) by everybody's formula, without anything of ours."""
    q = (points @ e[:3, :3].T + e[:3, 3]) @ k.T
    return q[:, :2] / q[:, 2:]


def random_rigid(rng: np.random.Generator, shift: tuple[float, float, float]) -> NDArray[np.float64]:
    return rigid(rotation_from_vector(rng.normal(0, 0.4, 3)), np.array(shift) + rng.normal(0, 20, 3))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, 1), (-1, -1, -1), (1, 1, -1), (1, -1, -1)])
def test_a_camera_of_any_handedness_projects_as_its_matrices_do(signs: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    sx, sy, front = signs
    k = np.array([[sx * 5100.0, 0, 700.3], [0, sy * 4900.0, 810.9], [0, 0, 1]])
    e = random_rigid(rng, (10.0, -20.0, front * 800.0))
    points = transform_points(invert(e), rng.uniform(-60, 60, (40, 3)) + np.array([0, 0, front * 800.0]))
    camera, pose = camera_from_matrices(k, e, (1500, 1600), points.mean(axis=0), 0.2)
    assert np.abs(project(points, pose, camera) - pixels_of(k, e, points)).max() < 1e-6
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert camera.sdd == pytest.approx(5100 * 0.2)
    assert camera.spacing == pytest.approx((0.2, 5100 * 0.2 / 4900))
    # What is in front of their source lies in front of ours.
    assert transform_points(invert(pose), points)[:, 2].min() > 0


@pytest.mark.parametrize("mirrored", [False, True])
def test_our_camera_survives_a_journey_through_opencv(mirrored: bool) -> None:
    rng = np.random.default_rng(4)
    camera = Intrinsics(1100.0, (0.3, 0.35), (301.2, 188.7), (640, 400), mirrored)
    pose = random_rigid(rng, (5.0, -700.0, 30.0))
    seen = transform_points(pose, (0.0, 0.0, 700.0))
    k, e = camera.matrix, invert(pose)
    if mirrored:  # OpenCV knows no mirrored images: its x axis runs the other way
        k = np.array([[-1.0, 0, camera.size[0] - 1], [0, 1, 0], [0, 0, 1]]) @ k
    points = transform_points(pose, rng.uniform(-50, 50, (20, 3)) + np.array([0, 0, 700]))
    assert np.abs(pixels_of(k, e, points) - project(points, pose, camera)).max() < 1e-9
    again, pose_again = camera_from_matrices(k, e, camera.size, seen, camera.spacing[0])
    assert again.mirrored == mirrored
    assert np.allclose(pose_again, pose, atol=1e-9)
    assert np.allclose([again.sdd, *again.spacing, *again.principal_point], [1100.0, 0.3, 0.35, 301.2, 188.7])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_or_cropped_image_shows_points_where_its_pixels_went(mirrored: bool) -> None:
    rng = np.random.default_rng(5)
    camera = Intrinsics(1000.0, (0.5, 0.6), (140.0, 120.0), (300, 260), mirrored)
    pose = random_rigid(rng, (0.0, 0.0, -700.0))
    points = transform_points(pose, rng.uniform(-40, 40, (10, 3)) + np.array([0, 0, 700]))
    there = project(points, pose, camera)
    turned_camera, turned_pose = turned(camera, pose)
    assert np.allclose(project(points, turned_pose, turned_camera), np.array([299, 259]) - there)
    assert np.allclose(project(points, pose, cropped(camera, 20)), there - 20)
    with pytest.raises(InputError, match="leaves nothing"):
        cropped(camera, 130)


def test_matrices_that_are_no_camera_are_refused() -> None:
    k, e, seen = np.diag([5000.0, 5000.0, 1.0]), np.eye(4), (0.0, 0.0, 500.0)
    skewed, sheared = k.copy(), e.copy()
    skewed[0, 1], sheared[0, 1] = 50.0, 0.1
    for wrong_k, wrong_e, point, sentence in (
        (skewed, e, seen, "skewed pixels"),
        (k, sheared, seen, "not rigid"),
        (k, e, (1.0, 2.0, 0.0), "plane of the source"),
        (np.zeros((3, 3)), e, seen, "focal lengths"),
    ):
        with pytest.raises(InputError, match=sentence):
            camera_from_matrices(wrong_k, wrong_e, (100, 100), point, 0.2)


SIZE = (90, 80)  # columns, rows


class DeepFluoroFile:
    """A file in DeepFluoro's layout, small, with landmarks at voxel centres, and what its formula makes of them."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng(6)
        self.path = path
        self.k = np.array([[-1020 / 3.0, 0, 46.2], [0, -1020 / 3.0, 38.1], [0, 0, 1]])
        self.extrinsic = random_rigid(rng, (0.0, 0.0, 0.0))
        self.origin = np.array([-90.0, -60.0, -900.0])
        self.voxels = {"FH-l": (9, 12, 10), "ASIS-r": (3, 5, 16), "MOF-l": (15, 9, 4), "SPS-r": (11, 4, 7)}
        self.landmarks = {name: self.origin + np.array(ijk) * 4.0 for name, ijk in self.voxels.items()}
        self.poses, self.up = [], (0, 1)
        center = self.origin + (np.array([20, 18, 22]) - 1) / 2 * 4.0
        for _ in self.up:
            # The volume lies 700 mm along -z of the camera: its z points to the source.
            lps_to_camera = random_rigid(rng, (0.0, 0.0, -700.0)) @ rigid(np.eye(3), -center)
            self.poses.append(np.linalg.inv(np.linalg.inv(self.extrinsic) @ lps_to_camera))
        with h5py.File(path, "w") as f:
            self._write(f)

    def truth(self, i: int) -> NDArray[np.float64]:
        """Pixels of the landmarks, by name, in the image as stored."""
        points = np.array([self.landmarks[name] for name in sorted(self.landmarks)])
        return pixels_of(self.k, self.extrinsic @ np.linalg.inv(self.poses[i]), points)

    def _write(self, f: Any) -> None:
        f["proj-params/intrinsic"], f["proj-params/extrinsic"] = self.k, self.extrinsic
        f["proj-params/num-cols"], f["proj-params/num-rows"] = SIZE
        f["proj-params/pixel-col-spacing"] = f["proj-params/pixel-row-spacing"] = 3.0
        array = np.full((22, 18, 20), -1000.0, np.float32)
        for i, j, k in self.voxels.values():
            array[k, j, i] = 1000.0
        vol = f.create_group("17-1882/vol")
        vol["pixels"], vol["spacing"], vol["dir-mat"] = array, np.full((3, 1), 4.0), np.eye(3)
        vol["origin"] = self.origin[:, None]
        for name, point in self.landmarks.items():
            f[f"17-1882/vol-landmarks/{name}"] = point[:, None]
        for i, pose in enumerate(self.poses):
            group = f.create_group(f"17-1882/projections/{i:03d}")
            image = np.full(SIZE[::-1], 60000.0, np.float32)
            for u, v in np.round(self.truth(i)).astype(int):
                image[v, u] = 100.0
            group["image/pixels"], group["gt-poses/cam-to-pelvis-vol"] = image, pose
            group["rot-180-for-up"] = self.up[i]


def test_deepfluoro_landmarks_fall_where_its_formula_says(tmp_path: Path) -> None:
    file = DeepFluoroFile(tmp_path / "full.h5")
    border = 5
    cases = list(deepfluoro_cases(file.path, border))
    assert [case.name for case in cases] == ["17-1882-000", "17-1882-001"]
    assert cases[0].volume is cases[1].volume
    for i, case in enumerate(cases):
        expected = file.truth(i) if not file.up[i] else np.array(SIZE) - 1 - file.truth(i)
        found = project(case.points, case.reference_pose, case.xray.intrinsics)
        assert np.abs(found - (expected - border)).max() < 0.01
        # The image moved with its camera: the marks that were painted into it are at the landmarks.
        columns, rows = np.round(found).astype(int).T
        assert (case.xray.pixels[rows, columns] == 100.0).all()
        assert case.xray.intrinsics.sdd == pytest.approx(1020)
        assert case.xray.scale == "intensity"
    # The landmarks are at the volume's bright voxels too.
    ijk = transform_points(np.linalg.inv(cases[0].volume.ijk_to_ras), cases[0].points)
    i, j, k = np.round(ijk).astype(int).T
    assert np.allclose(ijk, np.round(ijk), atol=1e-6)
    assert (cases[0].volume.array[k, j, i] == 1000).all()


def test_deepfluoro_says_what_is_missing_and_leaves_out_what_is_questionable(tmp_path: Path) -> None:
    file = DeepFluoroFile(tmp_path / "full.h5")
    with h5py.File(file.path, "a") as f:
        f.move("17-1882/projections/001", "17-1882/projections/003")
    assert [case.name for case in deepfluoro_cases(file.path, 0)] == ["17-1882-000"]
    assert len(list(deepfluoro_cases(file.path, 0, questionable=True))) == 2
    with h5py.File(file.path, "a") as f:
        del f["17-1882/vol/spacing"]
    with pytest.raises(InputError, match="17-1882/vol/spacing is missing"):
        next(deepfluoro_cases(file.path))
    with pytest.raises(InputError, match="does not exist"):
        next(deepfluoro_cases(tmp_path / "no.h5"))
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="not an HDF5 file"):
        next(deepfluoro_cases(tmp_path / "text.h5"))


def write_ljubljana(path: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """A file in Ljubljana's layout; its points (N, 3) and their pixels (N, 2) in each view, by its formula."""
    rng = np.random.default_rng(8)
    shape, spacing, origin = (20, 24, 16), np.array([0.8, 0.9, 1.1]), np.array([-7.0, -9.0, 3.0])
    voxels = np.array([(3, 5, 9), (12, 20, 4), (17, 8, 13)])
    # The first axis is x and runs backwards.
    points = origin + spacing * np.stack([shape[0] - 1 - voxels[:, 0], voxels[:, 1], voxels[:, 2]], axis=-1)
    array = np.zeros(shape, np.float32)
    array[tuple(voxels.T)] = 3000.0
    seen = {}
    with h5py.File(path, "w") as f:
        group = f.create_group("subject01")
        group["volume/pixels"], group["volume/spacing"], group["volume/origin"] = array, spacing, origin
        group["points"] = points
        for view in ("ap", "lat"):
            k = np.array([[-1250 / 0.154, 0, 60.5], [0, -1250 / 0.154, 44.0], [0, 0, 1]]) * [[0.1], [0.1], [1]]
            e = random_rigid(rng, (0.0, 0.0, -750.0))
            e[:3, 3] -= e[:3, :3] @ points.mean(axis=0)
            e[:2, 3] = -(e[:3, :3] @ points.mean(axis=0))[:2]
            seen[view] = pixels_of(k, e, points)
            image = np.full((90, 120), 0.5, np.float32)
            for u, v in np.round(seen[view]).astype(int):
                image[v, u] = 0.1
            projection = group.create_group(f"proj-{view}")
            projection["pixels"], projection["intrinsic"], projection["extrinsic"] = image, k, e
            projection["col-spacing"] = projection["row-spacing"] = 1.54
    return points, seen


def test_ljubljana_points_fall_where_its_formula_says(tmp_path: Path) -> None:
    points, seen = write_ljubljana(tmp_path / "ljubljana.h5")
    cases = {case.name: case for case in ljubljana_cases(tmp_path)}
    assert set(cases) == {"subject01-ap", "subject01-lat"}
    for view, pixels in seen.items():
        case = cases[f"subject01-{view}"]
        found = project(points, case.reference_pose, case.xray.intrinsics)
        assert np.allclose(case.points, points)
        assert np.abs(found - pixels).max() < 0.01
        columns, rows = np.round(found).astype(int).T
        # Vessels are dark in the file, and dense here.
        assert np.allclose(case.xray.pixels[rows, columns], 0.4)
        assert np.count_nonzero(case.xray.pixels) == len(points)
        assert case.volume.units == "1/mm"
        ijk = np.round(transform_points(np.linalg.inv(case.volume.ijk_to_ras), points)).astype(int)
        assert (case.volume.array[tuple(ijk[:, ::-1].T)] == case.volume.array.max()).all()


def test_ljubljana_says_what_is_missing(tmp_path: Path) -> None:
    write_ljubljana(tmp_path / "ljubljana.h5")
    with h5py.File(tmp_path / "ljubljana.h5", "a") as f:
        del f["subject01/proj-lat"]
    with pytest.raises(InputError, match="subject01 has no proj-lat"):
        list(ljubljana_cases(tmp_path))
    with h5py.File(tmp_path / "ljubljana.h5", "w") as f:
        f["something"] = 1
    with pytest.raises(InputError, match="holds no subjects"):
        list(ljubljana_cases(tmp_path))


def test_cases_are_registered_without_their_reference_and_the_table_goes_on(
    phantom: Volume, camera: Intrinsics, tmp_path: Path
) -> None:
    """The reference is only ever compared with: a wrong one changes the error and not the pose."""
    nominal = NominalView("PA", tuple(phantom.center), 700.0)
    pose = nominal.absolute(relative_motion((4, -6, 3), (8, -5, 12)))
    points = transform_points(phantom.ijk_to_ras, np.argwhere(phantom.array > 300)[::40, ::-1])
    seen = render(density_grid(phantom), pose[None], camera)[0].numpy()
    xray = Xray("good", seen, camera, "attenuation")
    wrong = increment((0, 0, 30.0, 0, 0, 0), phantom.center) @ pose
    cases = [
        DatasetCase("good", phantom, xray, pose, points, ("PA",)),
        DatasetCase("wrong", phantom, xray, wrong, points, ("PA",)),
        DatasetCase("blank", phantom, Xray("blank", np.ones_like(seen), camera), pose, points, ("PA",)),
    ]
    search = Search(700.0, PoseRange((10.0, 10.0, 10.0), (15.0, 15.0, 15.0)), 256)
    done: list[str] = []
    evaluate_cases(cases[:2], search, tmp_path / "out", "these", progress=done.append)
    summary = evaluate_cases(cases, search, tmp_path / "out", "these", progress=done.append)
    assert done == ["good", "wrong", "blank"]
    rows = {row.name: row for row in read_rows(tmp_path / "out" / "results.csv")}
    assert rows["good"].mtre_mm < 1
    assert rows["wrong"].mtre_mm == pytest.approx(30, abs=1)
    assert rows["blank"].mtre_mm == np.inf
    assert rows["blank"].reason
    assert summary.cases == 3
    assert (tmp_path / "out" / "summary.json").is_file()
    # Rows of other data, or of another search, are none of these.
    evaluate_cases(cases[2:], search, tmp_path / "out", "others", progress=done.append)
    evaluate_cases(cases[2:], dataclasses.replace(search, sod=710.0), tmp_path / "out", "others", progress=done.append)
    evaluate_cases(cases[2:], dataclasses.replace(search, sod=710.0), tmp_path / "out", "others", progress=done.append)
    assert done[3:] == ["blank", "blank"]
    assert [row.name for row in read_rows(tmp_path / "out" / "results.csv")] == ["blank"]


def test_a_case_takes_what_all_its_views_took(
    phantom: Volume, camera: Intrinsics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most similar view is the answer, but the others were tried as well; one of them refuses."""
    seen = np.random.default_rng(8).random(camera.size[::-1])

    def register(model: PatientModel, xray: Xray, sources: object) -> Registration:
        if model.view.name == "LLAT":
            raise InputError("It is not from the side.")
        similarity, seconds, renders = {"AP": (0.6, 2.0, 30), "PA": (0.9, 3.0, 50), "RLAT": (0.5, 5.0, 70)}[
            model.view.name
        ]
        return Registration(xray.name, model.view.pose, camera, similarity, seconds, renders=renders)

    monkeypatch.setattr(dataset_cases, "build_bank", lambda *_: None)
    monkeypatch.setattr(dataset_cases, "register_xray", register)
    pose = NominalView("PA", tuple(phantom.center), 700.0).pose
    points = phantom.center + 20 * np.eye(3)
    case = DatasetCase("one", phantom, Xray("one", seen, camera), pose, points, ("AP", "PA", "LLAT", "RLAT"))
    evaluate_cases([case], Search(700.0, PoseRange()), tmp_path / "out", "this")
    (row,) = read_rows(tmp_path / "out" / "results.csv")
    assert row.mtre_mm < 1e-6
    assert (row.similarity, row.seconds, row.renders) == (0.9, 10.0, 150.0)


def test_the_command_goes_on_with_a_data_set_unless_it_is_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ljubljana(tmp_path / "ljubljana.h5")
    done: list[str] = []

    def register(model: object, xray: Xray, sources: object) -> NoReturn:
        done.append(xray.name)
        raise InputError("Nothing was tried.")

    monkeypatch.setattr(dataset_cases, "build_bank", lambda *_: None)
    monkeypatch.setattr(dataset_cases, "register_xray", register)
    command = ["evaluate", "--ljubljana", str(tmp_path), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    both = ["subject01-ap"] * 2 + ["subject01-lat"] * 2  # each from two nominal views
    assert done == both
    assert main(command) == 0
    assert done == both
    assert main([*command, "--fresh"]) == 0
    assert done == both * 2


def test_an_evaluation_without_cases_is_refused(tmp_path: Path) -> None:
    none: list[DatasetCase] = []
    with pytest.raises(InputError, match="no case"):
        evaluate_cases(none, SEARCH, tmp_path / "out", "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        evaluate_cases(none, SEARCH, tmp_path / "file", "none")
