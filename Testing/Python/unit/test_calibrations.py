"""Calibration files of others, in and out, against OpenCV itself, SciPy's angles and Autoscoper's own example."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.c_arms import c_arm, c_arms
from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
from XVRegistrationLib.geometry.calibrations import (
    FORMATS,
    calibration_of,
    camera_of,
    read_calibration,
    relations_of,
    write_calibration,
)
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import invert, rigid
from XVRegistrationLib.imaging.completed import with_c_arm, with_calibration
from XVRegistrationLib.imaging.partial import PartialXray

# Of https://autoscoper.readthedocs.io, file specifications.
AUTOSCOPER_1 = "-737.5,-514.9,94.3\n89.7,-2.0,-55.2\n3.9,4.1,-632.5\n840.2,839.2,-6325.8\n0.1,1760,1760\n"


def random_pose(rng) -> np.ndarray:
    return rigid(Rotation.random(random_state=rng).as_matrix(), rng.normal(0, 500, 3))


def random_camera(seed: int, square: bool = True) -> CalibratedCamera:
    rng = np.random.default_rng(seed)
    fx = rng.uniform(2000, 8000)
    k = np.array([[fx, 0, rng.uniform(300, 700)], [0, fx if square else fx * 1.03, rng.uniform(300, 700)], [0, 0, 1]])
    return CalibratedCamera((1024, 960), k, random_pose(rng), 0.2)


def in_front(camera: CalibratedCamera, count: int = 20) -> np.ndarray:
    """World points (count, 3) before the camera."""
    seen = np.random.default_rng(9).uniform([-50, -50, 600], [50, 50, 900], (count, 3))
    return seen @ camera.placed[:3, :3] - camera.placed[:3, :3].T @ camera.placed[:3, 3]


def opencv_pixels(camera: CalibratedCamera, points: np.ndarray) -> np.ndarray:
    turn, _ = cv2.Rodrigues(camera.placed[:3, :3])
    return cv2.projectPoints(points, turn, camera.placed[:3, 3], camera.intrinsic, None)[0].reshape(-1, 2)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(5))
def test_every_format_gives_back_what_was_written(tmp_path, kind, seed):
    camera = random_camera(seed, square=kind == "mayacam1")
    path = tmp_path / "camera.txt"
    write_calibration(path, camera, kind)
    read = read_calibration(path)
    assert read.size == camera.size
    np.testing.assert_allclose(read.intrinsic, camera.intrinsic, atol=1e-9)
    np.testing.assert_allclose(read.placed, camera.placed, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_our_camera_projects_as_opencv_does(seed):
    camera = random_camera(seed, square=False)
    intrinsics, pose = camera_of(camera)
    points = in_front(camera)
    np.testing.assert_allclose(project(points, pose, intrinsics), opencv_pixels(camera, points), atol=1e-6)
    assert intrinsics.spacing[0] == 0.2
    back = calibration_of(intrinsics, pose)
    np.testing.assert_allclose(back.intrinsic, camera.intrinsic, atol=1e-9)
    np.testing.assert_allclose(back.placed, camera.placed, atol=1e-9)


@pytest.mark.parametrize("kind", ["mayacam2", "opencv-yaml", "opencv-json"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_x_ray_s_camera_comes_back_mirrored_or_not(tmp_path, kind, mirrored):
    intrinsics = Intrinsics(1020.0, (0.194, 0.2), (400.5, 300.25), (900, 700), mirrored)
    pose = random_pose(np.random.default_rng(3))
    write_calibration(tmp_path / "c.txt", calibration_of(intrinsics, pose), kind)
    read = read_calibration(tmp_path / "c.txt")
    found, placed = camera_of(read, pixel=0.194)
    assert found.mirrored is mirrored
    for got, wanted in [
        (found.sdd, 1020),
        (found.spacing, (0.194, 0.2)),
        (found.principal_point, (400.5, 300.25)),
        (placed, pose),
    ]:
        np.testing.assert_allclose(got, wanted, atol=1e-9)
    points = in_front(read)
    np.testing.assert_allclose(opencv_pixels(read, points), project(points, pose, intrinsics), atol=1e-6)


def test_mayacam_1_has_no_mirrored_and_no_oblong_images(tmp_path):
    oblong = random_camera(0, square=False)
    mirrored = calibration_of(Intrinsics.centered(1000.0, (0.2, 0.2), (500, 500), True), np.eye(4))
    for camera, sentence in [(oblong, "square"), (mirrored, "mirrored")]:
        with pytest.raises(InputError, match=sentence):
            write_calibration(tmp_path / "c.csv", camera, "mayacam1")
    assert not list(tmp_path.iterdir())


def test_autoscoper_s_example_is_read_by_its_own_formula(tmp_path):
    (tmp_path / "cam.csv").write_text(AUTOSCOPER_1)
    camera = read_calibration(tmp_path / "cam.csv")
    assert (camera.size, camera.pixel) == ((1760, 1760), 0.1)
    # Camera.cpp: turned about its own z, y, then x; it looks along -z, y up; u0 and v0 from 1, v from the bottom.
    axes = Rotation.from_euler("ZYX", [-55.2, -2.0, 89.7], degrees=True).as_matrix()
    place = np.array([-737.5, -514.9, 94.3])
    point = np.array([20.0, -30.0, 15.0])
    right, up, back = (point - place) @ axes
    u, v_up = 840.2 - 1 + 6325.8 * right / -back, 839.2 - 1 + 6325.8 * up / -back
    intrinsics, pose = camera_of(camera)
    np.testing.assert_allclose(project(point, pose, intrinsics), (u, 1759 - v_up), atol=1e-8)
    np.testing.assert_allclose(pose[:3, 3], place, atol=1e-9)
    # The film plane of the file's third line, which nothing reads: scale * (size / 2 - u0).
    write_calibration(tmp_path / "again.csv", camera, "mayacam1")
    film = [float(v) for v in (tmp_path / "again.csv").read_text().splitlines()[2].split(",")]
    np.testing.assert_allclose(film, [3.98, 4.08, -632.58], atol=1e-9)
    # Its camera looks at where the markers lie, near the origin.
    assert np.linalg.norm(np.cross(pose[:3, 2], -place)) < 0.1 * np.linalg.norm(place)


@pytest.mark.parametrize("degrees", [(30, 90, 40), (0, -90, 10), (12, 0, -170), (180, 20, 0)])
def test_mayacam_1_s_angles_hold_everywhere(tmp_path, degrees):
    turn = Rotation.from_euler("ZYX", degrees[::-1], degrees=True).as_matrix()
    placed = invert(rigid(turn @ np.diag([1.0, -1.0, -1.0]), [1.0, 2.0, 3.0]))
    camera = CalibratedCamera((100, 80), np.array([[500.0, 0, 50], [0, 500, 40], [0, 0, 1]]), placed)
    write_calibration(tmp_path / "c.csv", camera, "mayacam1")
    np.testing.assert_allclose(read_calibration(tmp_path / "c.csv").placed, placed, atol=1e-9)


@pytest.mark.parametrize("suffix", [".yml", ".json"])
def test_opencv_reads_ours_and_we_read_opencv_s(tmp_path, suffix):
    camera = random_camera(7, square=False)
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
    write_calibration(ours, camera, "opencv-json" if suffix == ".json" else "opencv-yaml")
    storage = cv2.FileStorage(str(ours), cv2.FILE_STORAGE_READ)
    np.testing.assert_allclose(storage.getNode("camera_matrix").mat(), camera.intrinsic, atol=1e-12)
    np.testing.assert_allclose(storage.getNode("R").mat(), camera.placed[:3, :3], atol=1e-12)
    np.testing.assert_allclose(storage.getNode("t").mat().ravel(), camera.placed[:3, 3], atol=1e-12)
    assert storage.getNode("image_width").real() == camera.size[0]
    storage.release()
    storage = cv2.FileStorage(str(theirs), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Sat 21 Nov 2026")
    storage.write("image_width", camera.size[0])
    storage.write("image_height", camera.size[1])
    storage.write("cameraMatrix", camera.intrinsic)
    storage.write("distCoeffs", np.zeros((5, 1)))
    storage.write("rvec", cv2.Rodrigues(camera.placed[:3, :3])[0])
    storage.write("tvec", camera.placed[:3, 3])
    storage.release()
    read = read_calibration(theirs)
    assert read.size == camera.size
    np.testing.assert_allclose(read.intrinsic, camera.intrinsic, atol=1e-9)
    np.testing.assert_allclose(read.placed, camera.placed, atol=1e-9)


def test_distortion_is_refused_unless_the_images_are_free_of_it(tmp_path):
    content = {"K": [[900, 0, 50], [0, 900, 40], [0, 0, 1]], "D": [0.1, 0, 0, 0, 0], "image_size": [100, 80]}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="lens distortion"):
        read_calibration(path)
    camera = read_calibration(path, undistorted=True)
    assert camera.extrinsic is None
    with pytest.raises(InputError, match="where the camera stood"):
        relations_of([camera, camera])
    del content["image_size"], content["D"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="image's size"):
        read_calibration(path)
    assert read_calibration(path, size=(100, 80)).size == (100, 80)


MAYACAM_2 = (
    "image size\n1760,1750\n\ncamera matrix\n6167.3,0,803.7\n0,6165.6,865.7\n0,0,1\n\n"
    "rotation\n0,-1,0\n1,0,0\n0,0,1\n\ntranslation\n-16.6\n-77.8\n901.4\n"
)


def test_a_mayacam_2_file_is_read(tmp_path):
    (tmp_path / "cam.txt").write_text(MAYACAM_2, newline="\r\n")
    camera = read_calibration(tmp_path / "cam.txt")
    assert camera.size == (1760, 1750)
    assert camera.intrinsic[0].tolist() == [6167.3, 0, 803.7]
    assert camera.placed[:3].tolist() == [[0, -1, 0, -16.6], [1, 0, 0, -77.8], [0, 0, 1, 901.4]]
    centimetres = read_calibration(tmp_path / "cam.txt", unit=10.0)
    np.testing.assert_allclose(centimetres.placed[:3, 3], [-166, -778, 9014])


BOMB = "%YAML:1.0\n---\na: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nK: [*c, *c]\n"
MATRIX = "!!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no calibration that is known"),
        ("\x00\x01 something else", "no calibration that is known"),
        (MAYACAM_2.replace("901.4", ""), "part 'translation' is missing"),
        (MAYACAM_2.replace("6167.3", "nan"), "finite"),
        (MAYACAM_2.replace("6167.3", "1e30"), "no camera's"),
        (MAYACAM_2.replace("1760", "1e9"), "is none"),
        (MAYACAM_2.replace("0,-1,0", "0,1,0"), "rotation"),
        (MAYACAM_2[:60], "missing or damaged"),
        (AUTOSCOPER_1.replace("89.7", "x"), "line 2"),
        (AUTOSCOPER_1.replace("-6325.8", "0"), "focal lengths"),
        ("%YAML:1.0\n---\n", "no named values"),
        ("%YAML:1.0\n---\nK: [", "neither YAML nor JSON"),
        ("{" * 5000, "neither YAML nor JSON"),
        ("{\"K\": 3}", "9 are needed"),
        ("%YAML:1.0\n---\nK: !!python/object/apply:os.system ['true']\n", "neither YAML nor JSON"),
        (BOMB, "neither YAML nor JSON"),
        (f"%YAML:1.0\n---\nK: {MATRIX}[1, 2]\n", "2 numbers"),
        (f"%YAML:1.0\n---\nK: {MATRIX}[ .Nan, 0, 1, 0, 1, 1, 0, 0, 1 ]\nsize: [9, 9]\n", "finite"),
        (f"%YAML:1.0\n---\nK: {MATRIX}[ 9, 0, 1, 0, 9, 1, 0, 0, 1 ]\nsize: [9, 9]\nR: [1, 2]\nt: [1, 2, 3]\n", "rotation"),
        (f"%YAML:1.0\n---\nK: {MATRIX}[ 9, 0, 1, 0, 9, 1, 0, 0, 1 ]\nsize: [a, 9]\n", "not a matrix of numbers"),
    ],
)  # fmt: skip
def test_what_is_damaged_or_hostile_is_named_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "cam.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as e:
        read_calibration(path)
    assert "cam.txt" in str(e.value)
    assert "\n" not in str(e.value)


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "big.txt").write_text("1,2,3\n" * 200_000)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00\x80" * 20)
    for name, sentence in [
        ("none.txt", "does not exist"),
        ("big.txt", "too large"),
        ("bytes.txt", "as text"),
        ("", "as text"),
    ]:
        with pytest.raises(InputError, match=sentence):
            read_calibration(tmp_path / name)
    with pytest.raises(InputError, match="positive"):
        read_calibration(tmp_path / "big.txt", unit=0)


def test_cameras_of_one_room_give_their_relation():
    first, second = random_camera(1), random_camera(2)
    relation = relations_of([first, second])
    pose = camera_of(first)[1]
    np.testing.assert_allclose(relation[0], np.eye(4), atol=1e-12)
    np.testing.assert_allclose(pose @ relation[1], camera_of(second)[1], atol=1e-9)


def xray(**known) -> PartialXray:
    fields = {"sdd": None, "spacing": None, "mirrored": False, **known}
    origins = {"mirrored": "assumed", "principal_point": "assumed", "size": "tag", "scale": "assumed"}
    return PartialXray("x", np.zeros((960, 1024), np.uint8), "attenuation", "x.png", origins=origins, **fields)


def test_a_calibration_completes_an_x_ray():
    camera = random_camera(4)
    without = CalibratedCamera(camera.size, camera.intrinsic, camera.extrinsic)
    focal = camera.intrinsic[0, 0]
    for parts, calibration, sdd, noted in [
        (xray(spacing=(0.3, 0.3)), camera, focal * 0.3, False),
        (xray(sdd=1100.0), camera, 1100.0, False),
        (xray(), camera, focal * 0.2, False),
        (xray(), without, 1000.0, True),
        (xray(sdd=2 * focal * 0.3, spacing=(0.3, 0.3)), camera, focal * 0.3, True),
    ]:
        found = with_calibration(parts, calibration)
        whole = found.complete()
        assert whole.intrinsics.sdd == pytest.approx(sdd)
        np.testing.assert_allclose(whole.intrinsics.matrix, camera.intrinsic, rtol=1e-12)
        assert bool(found.notes) is noted
        assert found.origins["sdd"] == found.origins["principal_point"] == "user"
    with pytest.raises(InputError, match="1024 x 960 px, but its calibration"):
        with_calibration(xray(), CalibratedCamera((5, 5), camera.intrinsic, None))


def test_a_c_arm_gives_what_a_file_lacks_and_nothing_else():
    cios = c_arm("cios-fusion")
    whole = PartialXray("x", np.zeros((768, 768)), "attenuation", "x.png", False, origins={})
    found = with_c_arm(whole, cios)
    assert (found.sdd, found.sod) == (1020, 530)
    assert found.spacing == pytest.approx((0.388, 0.388))
    assert found.origins == {"sdd": "user", "sod": "user", "spacing": "user"}
    stated = with_c_arm(xray(sdd=900.0, spacing=(0.4, 0.4)), cios)
    assert (stated.sdd, stated.spacing, stated.sod) == (900, (0.4, 0.4), 530)
    assert with_c_arm(xray(), cios).missing == ["spacing"]  # not of the detector's shape
    far = with_c_arm(xray(sdd=1500.0), c_arm("azurion-fd20"))
    assert "at most 1195" in far.notes[-1]
    with pytest.raises(InputError, match="cios-fusion"):
        c_arm("nobody's")


def test_every_c_arm_names_its_sources():
    for one in c_arms().values():
        assert one.sources
        assert all("http" in source for source in one.sources)
        assert any(value is not None for value in (one.sid, one.sod, one.pitch))
        assert one.sid is None or one.sod is None or one.sod < one.sid
        assert one.sid is None or one.longest_sid is None or one.sid <= one.longest_sid
        assert (one.pixels is None) == (one.pitch is None)


def test_a_published_calibration_of_a_c_arm_agrees_with_its_distances():
    """What the 400 matrices that Resources/c_arms.json names first have on average: mm, and a focal length in pixels."""
    spin = c_arm("cios-spin")
    assert spin.sod == pytest.approx(622.0, rel=0.005)
    assert spin.sid / spin.pitch[0] == pytest.approx(3821.2, rel=0.005)
    assert spin.spacing((976, 976)) == (0.304, 0.304)
    assert spin.spacing((488, 488)) == pytest.approx((0.608, 0.608))
