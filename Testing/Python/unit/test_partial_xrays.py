"""What files state of an X-ray, as far as they do: never an error for what a user can still say."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.xray_files import read_xray, read_xray_parts

INTRINSICS = Intrinsics.centered(1100.0, (0.3, 0.2), (40, 30))


@pytest.fixture
def file(tmp_path):
    pixels = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    write_dicom_dx(tmp_path / "xray.dcm", pixels, INTRINSICS)
    return tmp_path / "xray.dcm"


def edit(file, **elements):
    """Change elements of a file; None removes one."""
    dataset = pydicom.dcmread(file)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)


def test_a_complete_file_gives_the_same_xray_either_way(file):
    parts, xray = read_xray_parts(file), read_xray(file)
    assert parts.missing == []
    whole = parts.complete()
    assert (whole.intrinsics, whole.scale, whole.origins) == (xray.intrinsics, xray.scale, xray.origins)
    assert np.array_equal(whole.pixels, xray.pixels)
    assert parts.known == {
        "sdd": 1100.0,
        "spacing": [0.3, 0.2],
        "principal_point": [19.5, 14.5],
        "mirrored": False,
    }


def test_what_a_file_lacks_is_named_and_can_be_given(file):
    edit(file, DistanceSourceToDetector=None, ImagerPixelSpacing=None)
    parts = read_xray_parts(file)
    assert parts.missing == ["sdd", "spacing"]
    assert "sdd" not in parts.known
    assert "spacing" not in parts.origins
    assert parts.pixels.shape == (30, 40)
    with pytest.raises(InputError, match="not complete: sdd and spacing"):
        parts.complete()
    given = read_xray_parts(file, sid=1000.0, spacing=(0.4, 0.5))
    assert given.missing == []
    assert (given.origins["sdd"], given.origins["spacing"]) == ("user", "user")
    assert read_xray_parts(file, sid=1000.0).missing == ["spacing"]
    with pytest.raises(InputError, match="positive"):
        read_xray_parts(file, sid=-1.0)


def test_the_angles_of_a_c_arm_are_read_and_its_image_is_mirrored_unless_said(file):
    edit(file, PositionerPrimaryAngle="-27.5", PositionerSecondaryAngle="0", DistanceSourceToPatient="640")
    parts = read_xray_parts(file)
    assert (parts.primary_angle, parts.secondary_angle, parts.sod) == (-27.5, 0.0, 640.0)
    assert (parts.mirrored, parts.origins["mirrored"]) == (True, "assumed")
    assert parts.origins["primary_angle"] == "tag"
    assert read_xray_parts(file, mirrored=False).mirrored is False
    assert read_xray(file).intrinsics.mirrored is False
    assert parts.complete().intrinsics.mirrored is True


def test_a_secondary_capture_states_no_geometry(file):
    edit(file, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", PositionerPrimaryAngle="30", DistanceSourceToPatient="640")
    parts = read_xray_parts(file)
    assert parts.missing == ["sdd", "spacing"]
    assert set(parts.known) == {"principal_point", "mirrored"}


def test_a_picture_states_its_pixels_alone(tmp_path):
    path = tmp_path / "picture.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), str(path))
    parts = read_xray_parts(path)
    assert (parts.name, parts.scale, parts.size) == ("picture", "attenuation", (40, 30))
    assert parts.missing == ["sdd", "spacing"]
    assert parts.origins["scale"] == "assumed"
    assert read_xray_parts(path, sid=1000, spacing=0.5, scale="intensity").complete().scale == "intensity"
    with pytest.raises(InputError, match="does not exist"):
        read_xray_parts(tmp_path / "none.png")
