"""What a user meets on the way through the command: files of all kinds, with the same words about them everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from Testing.Python.unit.dicom_files import write_xray
from XVRegistrationLib.cli.export import frame_of
from XVRegistrationLib.cli.main import main, parser
from XVRegistrationLib.cli.view_options import view_from
from XVRegistrationLib.geometry.calibrations import calibration_of, distances_to_crossing, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid, increment, point_distance
from XVRegistrationLib.geometry.views import PoseRange, preset_pose
from XVRegistrationLib.imaging.dicom.segmentation_writer import write_dicom_segmentation
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume, write_volume
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.render import render

CAMERA = Intrinsics.centered(1020.0, (3.0, 3.3), (128, 120))
STATED = {"DistanceSourceToDetector": "1000", "ImagerPixelSpacing": ["0.5", "0.4"]}
ANGLES = {"PositionerPrimaryAngle": "20", "PositionerSecondaryAngle": "-5"}


def disc(size: tuple[int, int] = (120, 128)) -> np.ndarray:
    row, column = np.mgrid[: size[0], : size[1]]
    return np.maximum(1 - ((row - 60) / 50) ** 2 - ((column - 60) / 50) ** 2, 0) ** 0.5


def exposure(p: np.ndarray) -> np.ndarray:
    return np.round(3000 * np.exp(-p)).astype(np.uint16)


def said(capsys, *arguments: object) -> str:
    """What a command that is refused says."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def inspected(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def model(phantom, tmp_path_factory):
    """A model, and its folder."""
    folder = tmp_path_factory.mktemp("files")
    write_volume(folder / "ct.nii.gz", phantom)
    made = prepare_model(
        read_volume(folder / "ct.nii.gz"), CAMERA, sod=700.0, pose_range=PoseRange((9, 9, 9), (9, 9, 9)), bank_size=128
    )
    save_model(folder / "model", made)
    return made, folder


@pytest.mark.parametrize(("option", "mirrored"), [((), True), (("--no-mirrored",), False), (("--mirrored",), True)])
def test_a_model_takes_the_mirroring_of_the_x_ray_that_shows_its_geometry(tmp_path, capsys, option, mirrored):
    path = write_xray(tmp_path / "run.dcm", np.stack([exposure(disc())] * 2), **STATED, **ANGLES)
    options = parser().parse_args(["train", "ct.nii.gz", "-o", "model", "--geometry", str(path), *option])
    assert view_from(options).intrinsics.mirrored is mirrored
    assert ("say --no-mirrored" in capsys.readouterr().out) is (not option)
    assert inspected(capsys, path, *option)["values"]["mirrored"]["value"] is mirrored


def test_a_calibrated_picture_shows_the_geometry_of_a_model(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(exposure(disc())), str(tmp_path / "picture.png"))
    camera = Intrinsics(1100.0, (0.3, 0.31), (57.0, 66.5), (128, 120))
    write_calibration(tmp_path / "camera.txt", calibration_of(camera, np.eye(4)), "mayacam2")
    files = ["--geometry", str(tmp_path / "picture.png"), "--calibration", str(tmp_path / "camera.txt")]
    options = parser().parse_args(["train", "ct.nii.gz", "-o", "m", *files, "--spacing", "0.3", "0.31"])
    made = view_from(options).intrinsics
    np.testing.assert_allclose(made.matrix, camera.matrix, rtol=1e-9)


def test_who_says_that_bright_is_radiation_registers_a_photograph(model, tmp_path, capsys):
    made, folder = model
    truth = increment([5.0, -6.0, 4.0, 0.04, -0.03, 0.02], made.view.isocenter) @ made.view.pose
    p = render(made.pyramid.finest, truth[None], CAMERA, 0.9)[0].numpy()
    path = tmp_path / "photograph.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.round(60000 * np.exp(-p)).astype(np.uint16)), str(path))
    lengths = ["--sid", "1020", "--spacing", "3", "3.3"]
    scale = inspected(capsys, path, *lengths, "--bright", "radiation")["values"]["scale"]
    assert (scale["value"], scale["origin"]) == ("intensity", "user")
    given = ["register", str(folder / "model"), str(path), "-o", str(tmp_path / "out"), *lengths]
    assert main([*given, "--bright", "radiation"]) == 0
    result = json.loads((tmp_path / "out" / "photograph.json").read_text())
    points = made.volume.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1
    out = capsys.readouterr().out
    assert "mTRE" not in out  # nobody knows it here
    assert "converged" in out


def test_cameras_that_look_elsewhere_than_the_model_expects_are_told_so(model, tmp_path, capsys):
    made, folder = model
    views = [preset_pose(name, made.view.isocenter, 1400.0) for name in ("PA", "LAO 45")]
    assert distances_to_crossing(views) == pytest.approx([1400.0, 1400.0])
    files, calibrations = [], []
    for i, pose in enumerate(views):
        p = render(made.pyramid.finest, pose[None], CAMERA, 0.9)[0].numpy()
        sitk.WriteImage(sitk.GetImageFromArray(exposure(p)), str(tmp_path / f"{i}.png"))
        write_calibration(tmp_path / f"{i}.txt", calibration_of(CAMERA, pose), "mayacam2")
        files.append(str(tmp_path / f"{i}.png"))
        calibrations += ["--calibration", str(tmp_path / f"{i}.txt")]
    command = [
        "register",
        str(folder / "model"),
        *files,
        *calibrations,
        "-o",
        str(tmp_path / "out"),
        "--relative",
        "calibration",
    ]
    main(command)  # whether it is found or not
    assert "train with --sod 1400" in " ".join(capsys.readouterr().out.split())


def test_pictures_are_no_volumes_however_many_pages_they_have(tmp_path, capsys):
    stack = sitk.GetImageFromArray(np.zeros((4, 20, 20), np.uint16))
    sitk.WriteImage(stack, str(tmp_path / "stack.tif"))
    told = said(capsys, "train", tmp_path / "stack.tif", "--not-scanned", "0", "-o", tmp_path / "model")
    assert "stack.tif is a picture" in told
    assert "NIfTI" in told
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    told = said(capsys, "train", tmp_path / "a.zip", "-o", tmp_path / "model")
    assert "damaged or of an unknown format" in told
    assert "sitk" not in told


def test_a_folder_of_x_rays_is_no_volume(tmp_path, capsys):
    for i in range(2):
        write_xray(tmp_path / f"{i}.dcm", exposure(disc()), SeriesInstanceUID="1.2.3")
    assert "holds 2 X-rays (XA), not the slices of a volume" in said(capsys, "inspect", tmp_path)


def test_an_image_is_no_label_map(phantom, tmp_path, capsys, model):
    write_volume(tmp_path / "ct.nii.gz", phantom)
    xray = tmp_path / "xray.dcm"
    write_dicom_dx(xray, exposure(disc()), CAMERA)
    command = ["register", model[1] / "model", xray, "-o", tmp_path / "out", "--labels"]
    array = phantom.array.astype(np.int16).copy()
    array.flat[:3000] = np.arange(3000)
    array[array < 0] = 0
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(tmp_path / "values.nii.gz"))
    assert "values.nii.gz is not a label map: it has" in said(capsys, *command, tmp_path / "values.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 9, 9), np.uint8)), str(tmp_path / "one.nii.gz"))
    assert "one.nii.gz has only one slice" in said(capsys, *command, tmp_path / "one.nii.gz")


def test_a_bone_that_was_cut_out_is_noticed(tmp_path):
    noise = np.random.default_rng(0).normal(300, 200, (12, 20, 20)).astype(np.int16)
    array = np.zeros((30, 40, 40), np.int16)
    array[9:21, 10:30, 10:30] = noise
    path = tmp_path / "bone.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    notes = " ".join(read_volume(path).notes)
    assert "exactly 0 HU" in notes
    assert "say that 0 is what was not scanned" in notes
    array[array == 0] = -1000
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    assert "exactly" not in " ".join(read_volume(path).notes)


def test_structures_are_inspected_with_their_names_and_sizes(tmp_path, capsys):
    array = np.zeros((12, 14, 16), np.uint8)
    array[2:6, 3:9, 4:10] = 7
    array[7:11, 3:9, 4:10] = 9
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 2.5))
    image.SetMetaData("Segment0_ID", "a")
    image.SetMetaData("Segment0_Name", "left femur")
    image.SetMetaData("Segment0_LabelValue", "7")
    image.SetMetaData("Segment0_Layer", "0")
    sitk.WriteImage(image, str(tmp_path / "s.seg.nrrd"))
    found = inspected(capsys, tmp_path / "s.seg.nrrd", "-o", tmp_path / "s.png")
    assert found["kind"] == "structures"
    assert found["values"]["structure 7"]["value"] == {"label": 7, "name": "left femur", "voxels": 144, "ml": 0.72}
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "s.png")))[..., :3].astype(int)
    assert np.ptp(picture, axis=2).max() > 60  # in colours
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "labels.nii.gz"))
    assert set(inspected(capsys, tmp_path / "labels.nii.gz")["values"]) >= {"structure 7", "structure 9"}
    noise = np.random.default_rng(0).integers(0, 255, array.shape, dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / "mr.nii.gz"))
    assert inspected(capsys, tmp_path / "mr.nii.gz")["kind"] == "volume"
    assert "--sid is for X-rays" in said(capsys, "inspect", tmp_path / "labels.nii.gz", "--sid", "1000")


def test_results_of_a_run_are_exported_each_on_its_own_frame(tmp_path, capsys):
    run = np.stack([exposure(disc() * k) for k in (0.5, 1.0, 1.5)])
    path = write_xray(tmp_path / "RUN.dcm", run, **STATED)
    camera = Intrinsics.centered(1000.0, (0.4, 0.5), (128, 120))
    results = []
    for name in ("RUN-0001", "RUN-0002"):
        pose = preset_pose("PA", (0.0, 0.0, 0.0), 700.0)
        results.append(tmp_path / f"{name}.json")
        results[-1].write_text(json.dumps(Registration(name, pose, camera, 0.9, 1.0).to_dict()))
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 1
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "labels.nii.gz"))
    out = tmp_path / "out"
    command = ["export", *map(str, results), "-o", str(out), "--xrays", str(path)]
    assert main([*command, "--labels", str(tmp_path / "labels.nii.gz")]) == 0
    frames = []
    for name in ("RUN-0001", "RUN-0002"):
        segmentation = pydicom.dcmread(out / f"{name}_labels.dcm")
        texts = [e.value for e in segmentation.iterall() if e.keyword == "ReferencedFrameNumber"]
        frames.append({int(t) for t in texts})
    assert frames == [{2}, {3}]
    assert "labels.nrrd: The same label map" in (out / "README.txt").read_text()
    told = said(capsys, *command[:-2], "--volume", "ct.nii.gz", "-o", tmp_path / "other")
    assert "give them with --xrays" in told
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("name", "file", "frame"),
    [
        ("RUN-0003", "a/RUN.dcm", 3),
        ("RUN-min", "RUN", "min"),
        ("hip-left-mean", "hip-left.dcm", "mean"),
        ("RUN-0003", "OTHER.dcm", None),
        ("hip-left", "hip.dcm", None),
        ("RUN-0003", "RUN.nii.gz", 3),
        ("IMG-0003", "IMG-0003.dcm", None),
        ("IMG-0003-0001", "IMG-0003.dcm", 1),
        ("RUN", "RUN.dcm", None),
    ],
)
def test_the_name_of_a_result_tells_its_frame(name, file, frame):
    assert frame_of(name, file) == frame


def test_no_warning_about_a_segmentation_quotes_the_patients_name(tmp_path):
    path = write_xray(
        tmp_path / "x.dcm", exposure(disc()), PatientName="Nobodyknown", StudyInstanceUID="1.2", SeriesInstanceUID="1.3"
    )
    label = ProjectedLabel("femur", (1.0, 0.0, 0.0), disc() > 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_dicom_segmentation(tmp_path / "s.dcm", path, [label])
    assert not [w for w in caught if "Nobodyknown" in str(w.message)]


def test_help_shows_only_defaults_that_say_something(capsys):
    for command in ("train", "register", "export", "inspect", "evaluate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "(default: None)" not in out
    assert "(default: False)" not in out
    assert "(default: 700)" in out


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path):
    path = write_xray(tmp_path / "x.dcm", exposure(disc()), **STATED)
    end, begin = os.pipe()
    os.close(end)
    code = "import sys; from XVRegistrationLib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(path)], stdout=begin, stderr=subprocess.PIPE, check=False
    )
    os.close(begin)
    assert (done.returncode, done.stderr) == (0, b"")


def test_only_the_line_about_a_missing_driver_is_kept_back():
    code = (
        "import os\n"
        "from XVRegistrationLib.rendering.native_messages import without_driver_warning\n"
        "with without_driver_warning():\n"
        "    os.write(2, b'Warp CUDA warning: Could not find or load the NVIDIA CUDA driver. No GPU.\\nanother\\n')\n"
        "os.write(2, b'later\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=True)
    assert done.stderr == b"another\nlater\n"


def test_an_anatomy_gives_a_training_what_is_not_given():
    options = parser().parse_args(
        ["train", "ct.nii.gz", "-o", "m", "--anatomy", "vessels-pa", "--rotation", "9", "8", "7"]
    )
    found = view_from(options)
    assert (found.intrinsics.sdd, found.intrinsics.mirrored) == (1250.0, True)
    assert (found.pose_range.rotation, found.pose_range.translation) == ((9.0, 8.0, 7.0), (25.0, 25.0, 50.0))
    plain = view_from(parser().parse_args(["train", "ct.nii.gz", "-o", "m"]))
    assert (plain.intrinsics.sdd, plain.intrinsics.mirrored) == (1020.0, False)
    assert plain.pose_range.rotation == (20.0, 20.0, 20.0)
