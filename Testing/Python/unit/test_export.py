"""What is written for other programs, read back by other libraries: SimpleITK, h5py, pydicom and highdicom."""

from __future__ import annotations

import csv
import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from Testing.Python.dicom_files import NAMES, named, write
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import camera_of, read_calibration
from XVRegistrationLib.geometry.camera import Intrinsics, pixel_to_camera, project
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.imaging.segmentation import Code, Terminology
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.registration.export import Exported, write_exports
from XVRegistrationLib.registration.result import PoseUncertainty, Registration, Trust
from XVRegistrationLib.registration.target_files import read_targets

CENTER = np.array([12.0, -30.0, 55.0])
POSE = NominalView("PA", tuple(CENTER), 700.0).absolute(relative_motion([4.0, -7.0, 11.0], [9.0, -14.0, 22.0]))
CAMERAS = {
    "mirrored, oblong pixels, off centre": Intrinsics(1020.0, (1.5, 1.7), (30.2, 21.5), (60, 40), True),
    "plain": Intrinsics.centered(1100.0, (1.5, 1.5), (60, 40)),
}
POINTS = CENTER + np.random.default_rng(0).uniform(-40, 40, (25, 3))
SEEN = (47.0, 9.0)
"""Stored pixel of the first target."""
BONE = Terminology(Code("SCT", "123037004", "Anatomical Structure"), Code("SCT", "272673000", "Bone"))


def registration(camera: Intrinsics, name: str = "front") -> Registration:
    spread = PoseUncertainty(CENTER, np.diag([1.0, 1, 9, 1e-4, 1e-4, 1e-4]), np.zeros((6, 6)))
    trust = Trust("check", 0.2, "Look at the overlay.", "depth")
    return Registration(name, POSE, camera, 0.9, 1.0, uncertainty=spread, trust=trust)


def labels(camera: Intrinsics) -> tuple[ProjectedLabel, ...]:
    """A small structure in a large one, and one beside them."""
    masks = np.zeros((3, *camera.size[::-1]), bool)
    masks[0, 5:30, 10:40] = masks[1, 12:18, 15:22] = masks[2, 33:38, 45:58] = True
    named = zip(
        ("pelvis", "screw", "Wirbel ü"), ((1.0, 0.5, 0.0), (0.0, 0.5, 1.0), (0.2, 0.9, 0.3)), masks, strict=True
    )
    return tuple(ProjectedLabel(n, c, m, BONE if n == "pelvis" else None) for n, c, m in named)


def targets(camera: Intrinsics) -> list[tuple[str, np.ndarray]]:
    """One on the X-ray, two thirds of the way to the detector, and one anywhere."""
    on_detector = transform_points(POSE, pixel_to_camera(SEEN, camera))
    return [("entry; left", POSE[:3, 3] + 2 / 3 * (on_detector - POSE[:3, 3])), ("=tip", POINTS[1])]


@pytest.fixture(params=CAMERAS)
def camera(request) -> Intrinsics:
    return CAMERAS[request.param]


@pytest.fixture
def folder(camera, tmp_path):
    pixels = np.random.default_rng(1).integers(100, 60000, camera.size[::-1]).astype(np.uint16)
    file = write(tmp_path / "front.dcm", pixels)
    item = Exported(registration(camera), Xray("front", pixels, camera), labels(camera), file)
    write_exports(tmp_path / "out", [item], targets(camera))
    return tmp_path / "out"


@pytest.mark.parametrize("suffix", ["tfm", "h5"])
def test_the_transform_file_maps_the_patient_to_the_camera_in_lps_as_itk_does(folder, suffix):
    transform = sitk.ReadTransform(str(folder / f"front_pose_LPS.{suffix}"))
    flip = np.array([-1.0, -1.0, 1.0])
    expected = transform_points(invert(POSE), POINTS) * flip
    found = np.array([transform.TransformPoint((p * flip).tolist()) for p in POINTS])
    assert np.abs(found - expected).max() < 1e-6


def test_the_matrices_project_where_the_library_does(folder, camera):
    expected = project(POINTS, POSE, camera)
    for axes, points in (("RAS", POINTS), ("LPS", POINTS * [-1, -1, 1])):
        p = np.loadtxt(folder / f"front_projection_{axes}.txt")
        q = np.column_stack([points, np.ones(len(points))]) @ p.T
        assert np.abs(q[:, :2] / q[:, 2:] - expected).max() < 1e-9
        pose = np.loadtxt(folder / f"front_pose_{axes}.txt")
        assert np.allclose(
            transform_points(pose, np.zeros(3)), POSE[:3, 3] * ([1, 1, 1] if axes == "RAS" else [-1, -1, 1])
        )


@pytest.mark.parametrize("name", ["MayaCam1.csv", "MayaCam2.txt", "OpenCV.yaml"])
def test_calibrations_are_read_back_with_the_same_projection(folder, camera, name):
    path = folder / f"front_{name}"
    if name == "MayaCam1.csv" and camera.mirrored:
        assert not path.exists()
        return
    read, pose = camera_of(read_calibration(path))
    assert np.abs(project(POINTS, pose, read) - project(POINTS, POSE, camera)).max() < 1e-6


def test_the_tables_say_where_targets_fall_and_how_far_to_trust_it(folder, camera):
    [entry] = json.loads((folder / "registrations.json").read_text())
    expected = project([p for _, p in targets(camera)], POSE, camera)
    assert expected[0] == pytest.approx(SEEN)
    assert Registration.from_dict(entry).verdict == "check"
    assert np.allclose([t["pixel"] for t in entry["targets"]], expected)
    assert all(t["depth_95_mm"] > 1 and t["ellipse_95_px"][0] >= t["ellipse_95_px"][1] > 0 for t in entry["targets"])
    with (folder / "registrations.csv").open(newline="") as f:
        [row] = list(csv.DictReader(f))
    assert (row["xray"], row["verdict"], row["mirrored"]) == ("front", "check", str(camera.mirrored))
    assert float(row["pose_ras_03"]) == POSE[0, 3]
    assert np.allclose([float(row["entry; left column"]), float(row["entry; left row"])], expected[0])
    assert "'=tip column" in row  # no formula for a spreadsheet


def test_targets_of_one_name_have_columns_of_their_own(camera, tmp_path):
    points = [("tip", POINTS[0]), ("tip", POINTS[1]), ("tip 2", POINTS[2])]
    write_exports(tmp_path, [Exported(registration(camera))], points)
    with (tmp_path / "registrations.csv").open(newline="") as f:
        [row] = list(csv.DictReader(f))
    found = [[float(row[f"{name} {axis}"]) for axis in ("column", "row")] for name in ("tip", "tip 2", "tip 2 2")]
    assert np.allclose(found, project(POINTS[:3], POSE, camera))


def test_a_scene_without_xrays_is_refused_before_anything_is_written(tmp_path, phantom, capsys):
    (tmp_path / "x.json").write_text(json.dumps(registration(CAMERAS["plain"], "x").to_dict()))
    write_volume(tmp_path / "ct.nii.gz", phantom)
    arguments = ["--volume", str(tmp_path / "ct.nii.gz")]
    assert main(["export", str(tmp_path / "x.json"), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert "--xrays" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("suffix", "exact"), [("nii.gz", 1e-3), ("nrrd", 1e-9)])
def test_the_label_map_lies_where_the_detector_was(folder, camera, suffix, exact):
    image = sitk.ReadImage(str(folder / f"front_labels.{suffix}"))
    array = sitk.GetArrayFromImage(image)
    legend = {entry["name"]: entry["value"] for entry in json.loads((folder / "front_labels.json").read_text("utf-8"))}
    assert array.shape == (1, *camera.size[::-1])
    for label in labels(camera):
        seen = array[0] == legend[label.name]
        kept = label.mask if label.name != "pelvis" else label.mask & ~labels(camera)[1].mask
        assert np.array_equal(seen, kept)
    pixels = np.array([[0.0, 0.0], [17.0, 31.0], [59.0, 39.0]])
    expected = transform_points(POSE, pixel_to_camera(pixels, camera)) * [-1, -1, 1]
    found = [image.TransformContinuousIndexToPhysicalPoint((float(c), float(r), 0.0)) for c, r in pixels]
    assert np.abs(np.array(found) - expected).max() < exact
    # A ray from the source through a target meets the slice at the target's pixel.
    source, pixel = POSE[:3, 3], project(POINTS[0], POSE, camera)
    on_slice = np.array(image.TransformContinuousIndexToPhysicalPoint((*pixel.tolist(), 0.0))) * [-1, -1, 1]
    cosine = np.dot(on_slice - source, POINTS[0] - source)
    assert cosine / np.linalg.norm(on_slice - source) / np.linalg.norm(POINTS[0] - source) == pytest.approx(
        1, abs=1e-10
    )


def test_the_overlay_is_the_xray_with_outlines_and_targets(folder, camera):
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "front_overlay.png")))
    assert picture.shape == (*camera.size[::-1], 3)
    coloured = (picture != picture[..., :1]).any(axis=-1)
    assert tuple(picture[5, 10]) == (255, 128, 0)
    assert not coloured[25, 30]  # inside the outline
    assert tuple(picture[int(SEEN[1]), int(SEEN[0])]) == (0, 229, 255)


def test_the_dicom_segmentation_is_read_back_by_highdicom_and_pydicom(folder, camera, tmp_path):
    source = pydicom.dcmread(tmp_path / "front.dcm")
    seg = hd.seg.segread(folder / "front_labels.dcm")
    assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == [
        "pelvis",
        "screw",
        "Wirbel ü",
    ]
    assert seg.get_segment_description(1).segmented_property_type.meaning == "Bone"
    assert seg.get_segment_description(2).segmented_property_type.meaning == "Tissue"
    raw = pydicom.dcmread(folder / "front_labels.dcm")
    stored = raw.pixel_array
    for frame, item in zip(stored, raw.PerFrameFunctionalGroupsSequence, strict=True):
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(frame, labels(camera)[number - 1].mask)
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert raw.StudyInstanceUID == source.StudyInstanceUID
    lab = np.array(raw.SegmentSequence[0].RecommendedDisplayCIELabValue)
    rgb = np.array(hd.color.CIELabColor.from_dicom_value(tuple(int(v) for v in lab)).to_rgb())
    assert np.abs(rgb - np.array([255, 128, 0])).max() <= 2


def test_by_default_nothing_names_the_patient_and_with_the_flag_the_segmentation_does(folder, camera, tmp_path):
    assert named(folder.iterdir()) == []
    pixels = np.zeros(camera.size[::-1], np.uint16)
    pixels[3:] = 1000
    item = Exported(registration(camera), None, labels(camera), write(tmp_path / "y.dcm", pixels))
    write_exports(tmp_path / "kept", [item], keep_identity=True)
    assert str(pydicom.dcmread(tmp_path / "kept" / "front_labels.dcm").PatientName) == NAMES["PatientName"]
    assert {path for path, _ in named((tmp_path / "kept").iterdir())} == {"front_labels.dcm"}


def test_a_frame_of_a_run_is_named_in_the_segmentation(tmp_path):
    camera = CAMERAS["plain"]
    run = write(tmp_path / "run.dcm", np.arange(3 * 40 * 60, dtype=np.uint16).reshape(3, 40, 60))
    write_exports(tmp_path / "out", [Exported(registration(camera), None, labels(camera), run, frame=2)])
    raw = pydicom.dcmread(tmp_path / "out" / "front_labels.dcm")
    for item in raw.PerFrameFunctionalGroupsSequence:
        assert item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 3


@pytest.mark.parametrize("word", ["min", "max", "mean"])
def test_what_lies_on_all_frames_at_once_names_none_of_them(tmp_path, word):
    camera = CAMERAS["plain"]
    run = write(tmp_path / "run.dcm", np.arange(3 * 40 * 60, dtype=np.uint16).reshape(3, 40, 60) % 900)
    result, structures = tmp_path / f"run-{word}.json", np.zeros((30, 30, 30), np.uint8)
    result.write_text(json.dumps(registration(camera, f"run-{word}").to_dict()))
    structures[5:25, 5:25, 5:25] = 1
    write_volume(
        tmp_path / "labels.nrrd",
        Volume(structures, np.array([[3.0, 0, 0, -33], [0, 3, 0, -75], [0, 0, 3, 10], [0, 0, 0, 1]])),
    )
    given = ["export", str(result), "-o", str(tmp_path / "out"), "--xrays", str(run)]
    assert main([*given, "--labels", str(tmp_path / "labels.nrrd")]) == 0
    written = pydicom.dcmread(tmp_path / "out" / f"run-{word}_labels.dcm")
    referred = [item for item in written.iterall() if item.keyword == "ReferencedSOPInstanceUID"]
    assert {element.value for element in referred} == {pydicom.dcmread(run).SOPInstanceUID}
    assert not [element for element in written.iterall() if element.keyword == "ReferencedFrameNumber"]


@pytest.mark.parametrize(
    "lacking", [("StudyInstanceUID",), ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
)
@pytest.mark.parametrize("empty", [False, True])
def test_an_x_ray_that_was_stripped_of_its_study_has_a_segmentation_all_the_same(tmp_path, lacking, empty):
    camera = CAMERAS["plain"]
    pixels = np.random.default_rng(1).integers(100, 60000, (40, 60)).astype(np.uint16)
    path = write(tmp_path / "x.dcm", pixels)
    image = pydicom.dcmread(path)
    for keyword in lacking:
        if empty:
            setattr(image, keyword, "")
        else:
            delattr(image, keyword)
    image.save_as(path, enforce_file_format=False)
    write_exports(tmp_path / "out", [Exported(registration(camera), None, labels(camera), path)])
    written = hd.seg.segread(tmp_path / "out" / "front_labels.dcm")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert pydicom.uid.UID(written[keyword].value).is_valid, keyword
        assert written[keyword].value
    assert list(written.segment_numbers) == [1, 2, 3]
    masks = written.pixel_array.reshape(3, 40, 60).astype(bool)
    np.testing.assert_array_equal(masks, [label.mask for label in labels(camera)])
    [reference] = {e.value for e in written.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert reference
    if "SOPInstanceUID" not in lacking:
        assert reference == pydicom.dcmread(path).SOPInstanceUID


def test_what_does_not_fit_is_refused_before_it_is_written(tmp_path):
    camera = CAMERAS["plain"]
    found = registration(camera)
    for items, words in (
        ([], "no registration"),
        ([Exported(found), Exported(found)], "would overwrite"),
        ([Exported(registration(camera, "../up"))], "cannot be the name of a file"),
        ([Exported(found, labels=labels(Intrinsics.centered(1000, (1, 1), (50, 50))))], "have"),
    ):
        with pytest.raises(InputError, match=words):
            write_exports(tmp_path / "out", items)
    assert not (tmp_path / "up_pose_RAS.txt").exists()


def test_the_command_exports_results_with_xrays_labels_and_targets(tmp_path, phantom):
    camera = Intrinsics.centered(1020.0, (3.0, 3.0), (128, 120))
    result, file = (
        tmp_path / "x.json",
        write(tmp_path / "x.dcm", np.full((120, 128), 7, np.uint16) + np.arange(128, dtype=np.uint16)),
    )
    view = NominalView("AP", tuple(phantom.center), 700.0)
    found = Registration("x", view.pose, camera, 0.9, 1.0)
    result.write_text(json.dumps(found.to_dict()))
    write_volume(tmp_path / "labels.nii.gz", Volume((phantom.array > 300).astype(np.int16), phantom.ijk_to_ras))
    c = phantom.center
    (tmp_path / "targets.csv").write_text(f"name,r,a,s\ncentre,{c[0]},{c[1]},{c[2]}\n")
    arguments = [
        "--xrays",
        str(file),
        "--labels",
        str(tmp_path / "labels.nii.gz"),
        "--targets",
        str(tmp_path / "targets.csv"),
    ]
    assert main(["export", str(result), "-o", str(tmp_path / "out"), *arguments]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "x_labels.dcm",
        "x_labels.nii.gz",
        "x_overlay.png",
        "registrations.csv",
        "x_pose_LPS.tfm",
        "README.txt",
    } <= names
    [entry] = json.loads((tmp_path / "out" / "registrations.json").read_text())
    assert entry["targets"][0]["pixel"] == pytest.approx([63.5, 59.5])
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert "LPS" in readme
    assert "scene.mrb" not in readme
    assert named((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path, capsys):
    (tmp_path / "x.json").write_text(json.dumps(registration(CAMERAS["plain"], "x").to_dict()))
    (tmp_path / "file").write_text("")
    for folder in ("/proc/nothing", tmp_path / "file" / "out"):
        assert main(["export", str(tmp_path / "x.json"), "-o", str(folder)]) == 2
        said = capsys.readouterr().err
        assert f"{folder} cannot be written to" in " ".join(said.split())
        assert said.strip().count("\n") == 0
    out = tmp_path / "out"
    (out / "registrations.csv").mkdir(parents=True)  # what fails in the midst
    with pytest.raises(InputError, match=r"out cannot be written to \(Is a directory\); choose another folder"):
        write_exports(out, [Exported(registration(CAMERAS["plain"]))])
    assert not list(out.glob(".part-*"))


@pytest.mark.parametrize(
    ("text", "name"),
    [("{}", "x.json"), ("[1]", "x.json"), ("not json", "x.json"), ('{"pose": 1}', "x.json")],
)
def test_what_is_no_result_is_a_sentence(tmp_path, capsys, text, name):
    (tmp_path / name).write_text(text)
    assert main(["export", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 2
    assert "x.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_targets_are_read_from_tables_and_slicers_markups(tmp_path):
    points = [{"label": "a", "position": [1, 2, 3], "positionStatus": "defined"}, {"label": "b", "position": [9, 9, 9]}]
    points.append({"label": "c", "positionStatus": "undefined"})
    for system, sign in (("LPS", -1), ("RAS", 1)):
        content = {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}]}
        (tmp_path / "t.mrk.json").write_text(json.dumps(content))
        found = read_targets(str(tmp_path / "t.mrk.json"))
        assert [name for name, _ in found] == ["a", "b"]
        assert np.allclose(found[0][1], [sign, 2 * sign, 3])
    for bad in ("name,r,a\nx,1,2\n", "{}", "name,r,a,s\nx,1,2,nan\n", ""):
        (tmp_path / "bad.csv").write_text(bad)
        with pytest.raises(InputError, match=r"bad\.csv"):
            read_targets(str(tmp_path / "bad.csv"))
