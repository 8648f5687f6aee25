"""`xvregistration export` of X-rays and volumes that were registered as something else than their plain file."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from Testing.Python.unit.dicom_files import write_xray
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import preset_pose
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.imaging.xray_files import read_xray_parts
from XVRegistrationLib.registration.result import Registration

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Intrinsics.centered(1000.0, (0.4, 0.5), (64, 60))


def result(path: Path) -> str:
    """The file of a registration that is called so."""
    found = Registration(path.stem, preset_pose("PA", (0.0, 0.0, 0.0), 700.0), CAMERA, 0.9, 1.0)
    path.write_text(json.dumps(found.to_dict()))
    return str(path)


def images_in(bundle: Path, folder: Path) -> list[np.ndarray]:
    """The voxels of all images of a Slicer bundle."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    return [sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in folder.rglob("*.nrrd")]


def test_an_angiogram_and_its_subtracted_run_are_in_the_scene_as_they_were_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    masked = Dataset()
    masked.MaskOperation, masked.MaskFrameNumbers = "AVG_SUB", [1]
    frames = rng.integers(500, 4000, (3, 60, 64)).astype(np.uint16)
    stated = {"DistanceSourceToDetector": "1000", "ImagerPixelSpacing": ["0.5", "0.4"]}
    run = write_xray(tmp_path / "RUN.dcm", frames, MaskSubtractionSequence=[masked], **stated)
    voxels = rng.integers(100, 1700, (12, 11, 10)).astype(np.int16)  # no air: unlike a CT
    write_volume(tmp_path / "angiogram.nrrd", Volume(voxels, np.diag([3.0, 3.0, 3.0, 1.0])))
    registered = result(tmp_path / "RUN-0002.json")
    command = ["export", registered, "-o", str(tmp_path / "out"), "--xrays", str(run), "--subtract"]
    assert main([*command, "--volume", str(tmp_path / "angiogram.nrrd")]) == 0
    images = images_in(tmp_path / "out" / "scene.mrb", tmp_path / "scene")
    shown = read_xray_parts(run, frame=2, subtract=True).pixels
    assert any(np.array_equal(image, voxels) for image in images)
    assert any(image.size == shown.size and np.allclose(image.reshape(shown.shape), shown) for image in images)
    assert main(["export", registered, "-o", str(tmp_path / "none"), "--subtract"]) == 2
    assert "--subtract is about what the X-rays show" in capsys.readouterr().err
    assert main(["export", registered, "-o", str(tmp_path / "none"), "--mask-frames", "0-1"]) == 2
    assert "--mask-frames is about what the X-rays show" in capsys.readouterr().err


def test_a_single_image_whose_name_ends_like_that_of_a_frame_is_exported(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(100, 4000, (60, 64)).astype(np.uint16)
    file = write_xray(tmp_path / "IMG-0003.dcm", pixels)
    command = ["export", result(tmp_path / "IMG-0003.json"), "-o", str(tmp_path / "out")]
    assert main([*command, "--xrays", str(file)]) == 0
    assert (tmp_path / "out" / "IMG-0003_overlay.png").is_file()


@pytest.mark.parametrize("several", ["all", "0:2"])
@pytest.mark.parametrize("command", ["inspect", "export"])
def test_what_looks_at_one_image_refuses_several_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, several: str
) -> None:
    run = write_xray(tmp_path / "RUN.dcm", np.arange(3 * 3840, dtype=np.uint16).reshape(3, 60, 64))
    given = {"inspect": [str(run)], "export": [result(tmp_path / "RUN.json"), "-o", "out", "--xrays", str(run)]}
    assert main([command, *given[command], "--frame", several]) == 2
    assert "--frame takes a number, min, max or mean here." in capsys.readouterr().err
