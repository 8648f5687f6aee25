"""A folder in the layout of the wrist's: two calibrated cameras see the bone where their matrices put it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest
import SimpleITK as sitk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation import wrist as wrist_evaluation
from XVRegistrationLib.evaluation.measures import read_rows
from XVRegistrationLib.evaluation.wrist import evaluate_wrist
from XVRegistrationLib.evaluation.wrist_data import read_wrist
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, rigid, rotation_from_vector, transform_points

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.registration.model import PatientModel

SIZE = (120, 100)
SPACING = np.array([0.39625, 0.39625, 0.625])
BRIGHT = np.array([[3, 2, 1], [9, 12, 20], [6, 4, 11]])  # column, row, page


class Folder:
    """Writes the folder; keeps what its matrices make of the bright voxels."""

    def __init__(self, root: Path) -> None:
        rng = np.random.default_rng(2)
        bone_to_room = rigid(rotation_from_vector((0.3, -1.1, 0.4)), (100.0, 150.0, 70.0))
        center = np.array([2.0, 3.0, 7.0])
        middle = bone_to_room[:3, :3] @ (SPACING * [6, 6, 11] - center) + bone_to_room[:3, 3]
        self.pixels, self.distances = [], (900.0, 1100.0)
        for i, distance in enumerate(self.distances):
            rotation = rotation_from_vector((0.1, 1.4 * i, 0.05))
            extrinsic = rigid(rotation, np.array([0, 0, distance]) - rotation @ middle)
            k = np.array([[1800.0 + 10 * i, 0, 58.3], [0, 1790.0, 51.9], [0, 0, 1]])
            room = (BRIGHT * SPACING - center) @ bone_to_room[:3, :3].T + bone_to_room[:3, 3]
            q = (room @ rotation.T + extrinsic[:3, 3]) @ k.T
            self.pixels.append(q[:, :2] / q[:, 2:])
            (root / f"xr_calib_wrist_cam0{i + 1}.txt").write_text(self._calibration(k, extrinsic))
            image = np.full(SIZE[::-1], 200, np.uint8)
            for u, v in np.round(self.pixels[-1]).astype(int):
                image[v, u] = 20
            sitk.WriteImage(sitk.GetImageFromArray(image), str(root / f"xr_a_cam0{i + 1}_UND.0007.tif"))
        ct = np.zeros((24, 14, 12), np.uint16)
        ct[BRIGHT[:, 2], BRIGHT[:, 1], BRIGHT[:, 0]] = rng.integers(1500, 2500, 3)
        sitk.WriteImage(sitk.GetImageFromArray(ct), str(root / "bone_dcm_cropped.tif"))
        frame = {"R": bone_to_room[:3, :3].tolist(), "T": bone_to_room[:3, 3].tolist()}
        reference = {"radius_c_mm": center.tolist(), "radius": {"0007": frame}}
        (root / "reference_pose.json").write_text(json.dumps(reference))

    @staticmethod
    def _calibration(k: NDArray[np.float64], e: NDArray[np.float64]) -> str:
        def rows(matrix: NDArray[np.float64]) -> str:
            return "\n".join(",".join(f"{v:.9f}" for v in np.atleast_1d(row)) for row in matrix)

        size = f"{SIZE[0]},{SIZE[1]}"
        return (
            f"image size\n{size}\n\ncamera matrix\n{rows(k)}\n\nrotation\n{rows(e[:3, :3])}\n\n"
            f"translation\n{rows(e[:3, 3])}\n"
        )


def test_both_cameras_see_the_bone_where_their_matrices_put_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    wrist = read_wrist(tmp_path)
    points = BRIGHT * SPACING
    for pixels, xray, pose in zip(folder.pixels, wrist.xrays, wrist.reference, strict=True):
        found = project(points, pose, xray.intrinsics)
        assert np.abs(found - pixels).max() < 1e-4
        columns, rows = np.round(found).astype(int).T
        assert np.allclose(xray.pixels[rows, columns], -np.log(22 / 257))
        assert xray.scale == "attenuation"
        assert not xray.intrinsics.mirrored
    assert wrist.xrays[1].intrinsics.spacing[0] != wrist.xrays[1].intrinsics.spacing[1]
    assert sorted(map(tuple, np.round(wrist.points, 6))) == sorted(map(tuple, np.round(points, 6)))
    assert wrist.volume.units == "1/mm"
    ijk = np.round(transform_points(np.linalg.inv(wrist.volume.ijk_to_ras), points)).astype(int)
    assert (wrist.volume.array[tuple(ijk[:, ::-1].T)] >= 1500 * 2e-5 - 1e-9).all()


def test_the_cameras_relation_is_the_calibrations_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    wrist = read_wrist(tmp_path)
    assert np.allclose(wrist.relative[0], np.eye(4))
    assert np.allclose(wrist.reference[0] @ wrist.relative[1], wrist.reference[1], atol=1e-5)
    assert wrist.distances == pytest.approx(folder.distances, abs=1e-3)
    # Another reference moves the bone, not the cameras.
    content = json.loads((tmp_path / "reference_pose.json").read_text())
    content["radius"]["0007"]["T"] = [95.0, 160.0, 66.0]
    (tmp_path / "reference_pose.json").write_text(json.dumps(content))
    moved = read_wrist(tmp_path)
    assert np.array_equal(moved.relative[1], wrist.relative[1])
    assert moved.distances == wrist.distances
    there, here = invert(moved.reference[0]), invert(wrist.reference[0])
    assert np.linalg.norm(there[:3, 3] - here[:3, 3]) > 5


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    Folder(tmp_path)
    reference = tmp_path / "reference_pose.json"
    good = reference.read_text()
    reference.write_text(good.replace('"R"', '"Q"'))
    with pytest.raises(InputError, match="does not hold the reference pose"):
        read_wrist(tmp_path)
    reference.write_text(good)
    (tmp_path / "xr_calib_wrist_cam02.txt").write_text("image size\n1,1\n")
    with pytest.raises(InputError, match=r"cam02\.txt is not a MayaCam 2 calibration"):
        read_wrist(tmp_path)
    (tmp_path / "bone_dcm_cropped.tif").unlink()
    (tmp_path / "xr_calib_wrist_cam02.txt").unlink()
    with pytest.raises(InputError, match=r"holds no xr_calib_\*cam02\.txt"):
        read_wrist(tmp_path)


def test_an_evaluation_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are kept while starts and data are the same; registrations are only counted here."""
    data, output = tmp_path / "data", tmp_path / "out"
    done: list[int] = []
    data.mkdir()
    Folder(data)

    def register(model: PatientModel, *_: object, **__: object) -> NoReturn:
        done.append(len(model.bank.poses))
        raise InputError("Nothing was tried.")

    monkeypatch.setattr(wrist_evaluation, "register_views", register)
    monkeypatch.setattr(wrist_evaluation, "register_xray", register)

    class Stop(Exception):  # noqa: N818
        pass

    def end(way: str, at: int, starts: int) -> None:
        if (way, at) == (wrist_evaluation.FIRST, 1):
            raise Stop

    with pytest.raises(Stop):
        evaluate_wrist(data, output, starts=2, progress=end)
    assert done == [1, 1, 1]  # no more is rendered for a bank that nobody asks
    ways = evaluate_wrist(data, output, starts=2)
    assert len(done) == 6
    assert {way: s.cases for way, s in ways.items()} == {
        wrist_evaluation.TWO_VIEWS: 2,
        wrist_evaluation.FIRST: 2,
        wrist_evaluation.SECOND: 2,
    }
    assert [row.name for row in read_rows(output / "camera-1" / "results.csv")] == ["camera 1 00", "camera 1 01"]
    evaluate_wrist(data, output, starts=2)
    assert len(done) == 6
    evaluate_wrist(data, output, starts=2, fresh=True)
    assert len(done) == 12
    evaluate_wrist(data, output, starts=1)  # other starts: they are drawn together
    assert len(done) == 15
    reference = data / "reference_pose.json"
    reference.write_text(reference.read_text() + "\n")
    evaluate_wrist(data, output, starts=1)
    assert len(done) == 18
