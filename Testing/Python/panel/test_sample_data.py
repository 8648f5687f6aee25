"""The sample patient: made from the demo's CT, and offered in Slicer's Sample Data module, which is not to be had here."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.panel.patients import bones, patient
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation import sample_patient
from XVRegistrationLib.evaluation.demo_data import DemoData
from XVRegistrationLib.imaging.xray_files import read_xray


def _write(path, volume):
    image = sitk.GetImageFromArray(volume.array)
    ras_to_lps = np.diag([-1.0, -1.0, 1.0])
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetDirection(ras_to_lps.ravel())
    image.SetOrigin(ras_to_lps @ volume.ijk_to_ras[:3, 3])
    sitk.WriteImage(image, str(path))


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """The sample's folder with a phantom instead of the demo's CT."""
    folder = tmp_path / "sample"
    folder.mkdir()
    _write(folder / "cxr.nii.gz", patient())
    _write(folder / "mask.nii.gz", bones(3))
    (folder / "structures.csv").write_text(
        "group,original_idx,structure,id\nbones,1,hip_left,1\nbones,2,vertebrae_T9,2\nair,3,trachea,3\n"
    )
    names = [folder / name for name in ("cxr.nii.gz", "mask.nii.gz", "structures.csv")]
    monkeypatch.setattr(sample_patient, "demo_data", lambda _folder: DemoData(*names))
    monkeypatch.setenv("XVREGISTRATION_HOME", str(tmp_path))
    return folder


def test_its_xrays_are_dicom_files_with_their_geometry(sample):
    files = sample_patient.sample_patient(sample)
    xrays = [read_xray(file) for file in files if file.suffix == ".dcm"]
    assert len(xrays) == 2
    for xray in xrays:
        assert (xray.intrinsics.sdd, xray.intrinsics.size) == (1020.0, (512, 512))
        assert xray.origins["sdd"] == "tag"
        assert xray.pixels.min() < 0.7 * xray.pixels.max()  # the body's shadow is on it
    assert not np.array_equal(xrays[0].pixels, xrays[1].pixels)
    before = files[-1].stat().st_mtime_ns
    sample_patient.sample_patient(sample)
    assert files[-1].stat().st_mtime_ns == before


def test_choosing_it_loads_the_ct_its_bones_with_their_names_and_targets(host, sample, monkeypatch):
    from XVRegistrationLib.panel import sample_data

    offered = {}
    module = ModuleType("SampleData")
    module.SampleDataLogic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.update(source))
    monkeypatch.setitem(sys.modules, "SampleData", module)
    sample_data.register()
    assert offered["category"] == "XVRegistration"
    # The files are there already: the process that would download them has nothing to do.
    monkeypatch.setattr(sample_data, "interpreter", lambda: [sys.executable, "-c", "pass"])
    volume, segmentation, targets = offered["customDownloader"](None)
    assert volume.GetImageData().GetDimensions() == (96, 80, 64)
    content = segmentation.GetSegmentation()
    assert [content.GetNthSegment(i).GetName() for i in range(content.GetNumberOfSegments())] == [
        "hip_left",
        "vertebrae_T9",
    ]
    assert [targets.GetNthControlPointLabel(i) for i in range(targets.GetNumberOfControlPoints())] == ["T9"]
    bone = bones(3)
    inside = np.argwhere(bone.array == 2)[:, ::-1] @ bone.ijk_to_ras[:3, :3].T + bone.ijk_to_ras[:3, 3]
    np.testing.assert_allclose(targets.GetNthControlPointPositionWorld(0), inside.mean(axis=0), atol=2.0)
    monkeypatch.setattr(sample_data, "interpreter", lambda: [sys.executable, "-c", "raise SystemExit('no network')"])
    with pytest.raises(InputError, match="no network"):
        sample_data.load()
