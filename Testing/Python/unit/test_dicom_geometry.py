"""The geometry that DICOM headers state, derive, contradict and lack, against images that were cut and turned by NumPy."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from pydicom.dataset import Dataset

from Testing.Python.unit.dicom_files import header
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.dicom.dataset import plain
from XVRegistrationLib.imaging.dicom.geometry import read_geometry
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.xray_files import read_xray_parts

DX = "1.2.840.10008.5.1.4.1.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"
SIDE = 512


def read(**elements):
    return read_geometry(header(**elements))


# Distances


def test_stated_distances_are_taken_as_they_are():
    found = read(
        DistanceSourceToDetector=976, DistanceSourceToPatient=720, EstimatedRadiographicMagnificationFactor="1.35556"
    )
    assert (found.values["sdd"], found.values["sod"]) == (976, 720)
    assert (found.origins["sdd"], found.origins["sod"]) == ("tag", "tag")
    assert found.notes == ()


def test_the_distance_that_is_missing_is_derived_from_the_magnification():
    detector = read(DistanceSourceToPatient=720, EstimatedRadiographicMagnificationFactor=1.25)
    assert (detector.values["sdd"], detector.origins["sdd"]) == (900, "derived")
    center = read(DistanceSourceToDetector=900, EstimatedRadiographicMagnificationFactor=1.25)
    assert (center.values["sod"], center.origins["sod"]) == (720, "derived")
    assert "720 x 1.25" in detector.notes[0]
    assert "900 / 1.25" in center.notes[0]
    neither = read(DistanceSourceToPatient=720)
    assert neither.values["sdd"] is None
    assert neither.absent["sdd"] == "DistanceSourceToDetector (0018,1110)"


def test_the_isocentre_of_an_enhanced_object_goes_before_the_patient():
    found = read(DistanceSourceToDetector=1200, DistanceSourceToIsocenter=810, DistanceSourceToPatient=750)
    assert (found.values["sod"], found.origins["sod"]) == (810, "tag")


@pytest.mark.parametrize("kind", [DX, "1.2.840.10008.5.1.4.1.1.1.1.1"])
def test_the_patient_s_distance_of_a_radiograph_ends_at_the_table(kind):
    """PS3.3 C.8.11.5; plain XA (C.8.7.5) and CR (C.8.1.3) measure to the centre of the field."""
    stated = {"DistanceSourceToDetector": 1150, "DistanceSourceToPatient": 1070}
    radiograph, angiogram = read(SOPClassUID=kind, **stated), read(**stated)
    assert (radiograph.values["sdd"], radiograph.values["sod"], angiogram.values["sod"]) == (1150, None, 1070)
    assert "ends at the table" in radiograph.notes[0]
    assert angiogram.notes == ()
    assert read(SOPClassUID=kind, DistanceSourceToDetector=1150).notes == ()
    # Their ratio is the magnification all the same, by its definition; that at the patient's depth is not theirs.
    magnified = read(SOPClassUID=kind, DistanceSourceToPatient=1000, EstimatedRadiographicMagnificationFactor=1.15)
    assert (magnified.values["sdd"], magnified.values["sod"]) == (pytest.approx(1150), None)
    in_patient = {"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "GEOMETRY"}
    assert read(SOPClassUID=kind, **stated, **in_patient).values["spacing"] is None
    np.testing.assert_allclose(read(**stated, **in_patient).values["spacing"], 0.2 * 1150 / 1070)
    # Of a C-arm, which has no bucky, it is left open there and as in XA.
    for carm in ({"PositionerType": "CARM"}, {"PositionerPrimaryAngle": 10, "PositionerSecondaryAngle": 0}):
        assert read(SOPClassUID=kind, **stated, **carm).values["sod"] == 1070
    assert read(SOPClassUID=kind, **stated, PositionerType="COLUMN").values["sod"] is None


def test_distances_that_contradict_one_another_are_said():
    behind = read(DistanceSourceToDetector=900, DistanceSourceToPatient=950)
    assert (behind.values["sdd"], behind.values["sod"]) == (900, None)
    assert "only 900 mm from the source" in behind.notes[0]
    other = read(
        DistanceSourceToDetector=900, DistanceSourceToPatient=720, EstimatedRadiographicMagnificationFactor=1.6
    )
    assert other.values["sod"] == 720
    assert "is 1.6, but the distances give 1.25" in other.notes[0]


@pytest.mark.parametrize("value", ["0", "-1000", "1e9", "98", "", None])
@pytest.mark.parametrize("keyword", ["DistanceSourceToDetector", "DistanceSourceToPatient", "ImagerPixelSpacing"])
def test_absurd_values_count_as_missing_and_are_named(keyword, value):
    stated = {
        "DistanceSourceToDetector": "1000",
        "DistanceSourceToPatient": "700",
        "ImagerPixelSpacing": ["0.3", "0.3"],
    }
    name = {"DistanceSourceToDetector": "sdd", "DistanceSourceToPatient": "sod", "ImagerPixelSpacing": "spacing"}[
        keyword
    ]
    found = read(**{**stated, keyword: [value, value] if keyword == "ImagerPixelSpacing" and value else value})
    assert found.values[name] is None
    assert name not in found.origins
    assert (value in ("0", "", None)) or any(keyword in note for note in found.notes)


def test_doubled_and_malformed_values_do_not_pass_for_numbers():
    dataset = header(DistanceSourceToDetector=["1000", "1000"], ImagerPixelSpacing="0.3")
    dataset.PositionerPrimaryAngle = float("nan")
    dataset.PositionerSecondaryAngle = "720"
    found = read_geometry(dataset)
    assert [found.values[name] for name in ("sdd", "spacing", "primary_angle", "secondary_angle")] == [None] * 4
    assert len([note for note in found.notes if "ignored" in note]) == 4


def test_what_the_user_gives_goes_first_and_is_checked():
    found = read_geometry(header(DistanceSourceToDetector=976, ImagerPixelSpacing=[0.2, 0.3]), sid=1000.0, spacing=0.5)
    assert (found.values["sdd"], found.values["spacing"]) == (1000, (0.5, 0.5))
    assert (found.origins["sdd"], found.origins["spacing"]) == ("user", "user")
    with pytest.raises(InputError, match="from source to detector must be a positive number"):
        read_geometry(header(), sid=float("nan"))


# Spacing


def test_the_imager_s_spacing_goes_before_everything_else():
    found = read(ImagerPixelSpacing=[0.2, 0.3], PixelSpacing=[0.1, 0.1], PixelSpacingCalibrationType="GEOMETRY")
    assert (found.values["spacing"], found.origins["spacing"], found.notes) == ((0.3, 0.2), "tag", ())


def test_a_spacing_in_the_patient_is_brought_to_the_detector_by_the_magnification():
    in_patient = {"PixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "GEOMETRY"}
    stated = read(**in_patient, EstimatedRadiographicMagnificationFactor=1.5)
    np.testing.assert_allclose(stated.values["spacing"], (0.45, 0.3))
    assert stated.origins["spacing"] == "derived"
    by_distances = read(**in_patient, DistanceSourceToDetector=1000, DistanceSourceToPatient=800)
    np.testing.assert_allclose(by_distances.values["spacing"], (0.375, 0.25))
    assert read(**in_patient).values["spacing"] is None
    assert "calibrated in the patient" in read(**in_patient).absent["spacing"]


def test_a_spacing_by_a_thing_of_known_size_holds_at_an_unknown_depth():
    found = read(
        PixelSpacing=[0.2, 0.2], PixelSpacingCalibrationType="FIDUCIAL", EstimatedRadiographicMagnificationFactor=1.5
    )
    assert found.values["spacing"] is None


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"FieldOfViewShape": "RECTANGLE", "FieldOfViewDimensions": [200, 200]}, (200 / 512, 200 / 512)),
        ({"FieldOfViewShape": "RECTANGLE", "FieldOfViewDimensions": [300, 400], "Rows": 960, "Columns": 1280}, (0.3125, 0.3125)),
        ({"FieldOfViewShape": "ROUND", "FieldOfViewDimensions": 230}, (230 / 512, 230 / 512)),
        ({"FieldOfViewDimensionsInFloat": [150.0, 150.0]}, (150 / 512, 150 / 512)),
        ({"IntensifierSize": 310}, (310 / 512, 310 / 512)),
        ({"DetectorElementSpacing": [0.154, 0.154], "DetectorBinning": [2, 2]}, (0.308, 0.308)),
    ],
)  # fmt: skip
def test_field_of_view_intensifier_and_elements_stand_in(elements, spacing):
    found = read(**elements)
    np.testing.assert_allclose(found.values["spacing"], spacing)
    assert found.origins["spacing"] == "derived"
    assert found.notes


def test_pixels_made_up_between_the_detector_s_elements_are_smaller():
    """DetectorBinning below one: PS3.3 C.8.11.4.1.1."""
    found = read(DetectorElementSpacing=[0.2, 0.3], DetectorBinning=[0.5, 0.5])
    np.testing.assert_allclose(found.values["spacing"], (0.15, 0.1))
    assert read(DetectorElementSpacing=[0.2, 0.2], DetectorBinning=[0, 1]).values["spacing"] is None


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_sides_of_a_field_of_view_are_those_that_make_square_pixels(turn):
    """The standard does not say whether an image's sides are named before it is turned or after it."""
    image = {"Rows": 400, "Columns": 300, "FieldOfViewShape": "RECTANGLE", "FieldOfViewRotation": turn}
    as_shown = read(**image, FieldOfViewDimensions=[120, 90])
    np.testing.assert_allclose(as_shown.values["spacing"], (0.3, 0.3))
    as_seen = read(**image, FieldOfViewDimensions=[90, 120])
    if turn in (90, 270):
        np.testing.assert_allclose(as_seen.values["spacing"], (0.3, 0.3))
    else:
        assert as_seen.values["spacing"] is None
    for sides in ([120, 90], [90, 120]):
        stated = read(**image, ImagerPixelSpacing=[0.3, 0.3], FieldOfViewDimensions=sides)
        assert bool(stated.notes) == (turn in (0, 180) and sides == [90, 120])


@pytest.mark.parametrize(
    ("size", "rows", "columns", "spacing"),
    [("35CMX43CM", 2150, 1750, 0.2), ("24CMX30CM", 2400, 3000, 0.1), ("10INX12IN", 3048, 2540, 0.1), ("35CMX35CM", 1760, 1760, 350 / 1760)],
)  # fmt: skip
def test_a_cassette_s_size_stands_in_last(size, rows, columns, spacing):
    plate = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Rows": rows, "Columns": columns, "CassetteSize": size}
    found = read(**plate)
    np.testing.assert_allclose(found.values["spacing"], spacing)
    assert found.origins["spacing"] == "derived"
    assert "nominal" in found.notes[0]
    assert read(**plate, PixelSpacing=[0.15, 0.15]).values["spacing"] == (0.15, 0.15)
    other = read(**{**plate, "Columns": columns // 2})
    assert other.values["spacing"] is None
    assert "not of the image's shape" in other.notes[0]
    assert read(**{**plate, "CassetteSize": "BIG"}).values["spacing"] is None


def test_a_field_of_view_that_is_not_the_image_is_ignored():
    found = read(FieldOfViewShape="RECTANGLE", FieldOfViewDimensions=[300, 400], IntensifierSize=410)
    np.testing.assert_allclose(found.values["spacing"], (410 / 512, 410 / 512))
    assert "not what the image shows" in found.notes[0]


def test_contradictions_of_the_spacing_are_said():
    field = read(ImagerPixelSpacing=[0.2, 0.2], FieldOfViewShape="RECTANGLE", FieldOfViewDimensions=[200, 200])
    assert (field.values["spacing"], field.origins["spacing"]) == ((0.2, 0.2), "tag")
    assert "102.4 x 102.4 mm, but its field of view is 200 x 200 mm" in field.notes[0]
    elements = read(ImagerPixelSpacing=[0.2, 0.2], DetectorElementSpacing=[0.154, 0.154], DetectorBinning=[2, 2])
    assert "resampled" in elements.notes[0]
    assert (
        read(ImagerPixelSpacing=[0.308, 0.308], DetectorElementSpacing=[0.154, 0.154], DetectorBinning=[2, 2]).notes
        == ()
    )


def test_a_secondary_capture_states_nothing():
    found = read_geometry(
        header(SOPClassUID=SC, DistanceSourceToDetector=1000, PositionerPrimaryAngle=3, IntensifierSize=300)
    )
    assert {name for name, value in found.values.items() if value is not None} == {"mirrored"}
    assert set(found.absent) == {"sdd", "spacing"}


# Principal point


def cut(detector, start, size, binning, rotation, flip):
    """What a C-arm stores of a detector (rows, columns): binned, cut out, turned clockwise, flipped."""
    field = detector[start[0] : start[0] + size[0] * binning, start[1] : start[1] + size[1] * binning]
    field = field.reshape(size[0], binning, size[1], binning).sum(axis=(1, 3))
    field = np.rot90(field, -rotation // 90)
    return field[:, ::-1] if flip else field


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("isocenter", [None, (171.0, 240.0)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_principal_point_follows_the_cut_the_turn_and_the_flip(rotation, flip, isocenter, mirrored):
    elements, pitch, binning, start, size = (400, 520), 0.15, 2, (60, 90), (120, 160)
    detector = np.zeros(elements)
    if isocenter is None:  # the centre is the corner of four elements
        detector[199:201, 259:261] = 1
    else:
        detector[int(isocenter[0]), int(isocenter[1])] = 1
    image = cut(detector, start, size, binning, rotation, flip)
    rows, columns = image.shape
    stated = {"PhysicalDetectorSize": [elements[0] * pitch, elements[1] * pitch]}
    if isocenter is not None:
        stated = {"PositionOfIsocenterProjection": list(isocenter)}
    dataset = header(
        Rows=rows, Columns=columns, ImagerPixelSpacing=[pitch * binning] * 2, DetectorElementSpacing=[pitch] * 2,
        FieldOfViewOrigin=list(start), FieldOfViewRotation=rotation, FieldOfViewHorizontalFlip="YES" if flip else "NO", **stated,
    )  # fmt: skip
    found = read_geometry(dataset, mirrored=mirrored)
    cx, cy = found.values["principal_point"]
    assert found.origins["principal_point"] == "derived"
    stored = (columns - 1 - cx if mirrored else cx, cy)
    row, column = (np.indices(image.shape) * image).sum(axis=(1, 2)) / image.sum()
    # One element is a quarter of a binned pixel, to whose centre the image has moved it.
    np.testing.assert_allclose(stored, (column, row), atol=1e-9 if isocenter is None else 0.25 + 1e-9)


def test_the_active_area_stands_in_for_the_detector():
    found = read(
        ImagerPixelSpacing=[0.2, 0.2], DetectorElementSpacing=[0.2, 0.2], FieldOfViewOrigin=[300, 200],
        DetectorActiveDimensions=[200, 200], DetectorActiveOrigin=[12, 12],
    )  # fmt: skip
    # The active area's centre is 12 + 500 elements from the detector's edge.
    assert found.values["principal_point"] == pytest.approx((311.5, 211.5))


def test_without_a_detector_the_image_s_middle_is_assumed_and_said():
    lacking = read(ImagerPixelSpacing=[0.2, 0.2], FieldOfViewOrigin=[7, 7])
    assert (lacking.values["principal_point"], lacking.origins["principal_point"]) == (None, "assumed")
    assert "DetectorElementSpacing" in lacking.notes[0]
    size = read(ImagerPixelSpacing=[0.2, 0.2], DetectorElementSpacing=[0.2, 0.2], FieldOfViewOrigin=[7, 7])
    assert "detector's size" in size.notes[0]
    beside = read(
        ImagerPixelSpacing=[0.2, 0.2], DetectorElementSpacing=[0.2, 0.2], FieldOfViewOrigin=[9000, 7], PhysicalDetectorSize=[300, 300]
    )  # fmt: skip
    assert "beside the detector" in beside.notes[0]
    assert beside.origins["principal_point"] == "assumed"


@pytest.mark.parametrize("keyword", ["DetectorPrimaryAngle", "DetectorSecondaryAngle", "ColumnAngulation"])
def test_a_detector_that_is_tilted_against_the_beam_is_said(keyword):
    """PS3.3 C.8.7.5.1.4, C.8.11.5 and C.8.7.6."""
    tilted = read(**{keyword: -12.5})
    assert f"{keyword}" in tilted.notes[0]
    assert "-12.5 degrees" in tilted.notes[0]
    assert tilted.origins["principal_point"] == "assumed"
    for straight in (0, 0.1, 341, ""):  # 341: out of the standard's range
        assert read(**{keyword: straight}).notes == ()


# All of it

NUMBERS = {
    "DistanceSourceToDetector": "1000", "DistanceSourceToPatient": "700", "EstimatedRadiographicMagnificationFactor": "1.43",
    "ImagerPixelSpacing": ["0.3", "0.3"], "PixelSpacing": ["0.2", "0.2"], "FieldOfViewDimensions": ["150", "150"],
    "FieldOfViewOrigin": ["10", "10"], "FieldOfViewRotation": "90", "DetectorElementSpacing": ["0.15", "0.15"],
    "DetectorBinning": ["2", "2"], "DetectorActiveDimensions": ["300", "300"], "DetectorActiveOrigin": ["0", "0"],
    "PositionerPrimaryAngle": "10", "PositionerSecondaryAngle": "-5", "PositionerPrimaryAngleIncrement": ["0", "1"],
    "PositionerSecondaryAngleIncrement": ["0", "1"], "NumberOfFrames": "2", "IntensifierSize": "300", "Rows": 500,
    "Columns": 500, "DistanceSourceToIsocenter": 710.0, "PhysicalDetectorSize": [300.0, 300.0],
    "PositionOfIsocenterProjection": [1000.0, 1000.0], "FieldOfViewDimensionsInFloat": [150.0, 150.0],
    "PositionerIsocenterPrimaryAngle": 3.0, "PositionerIsocenterSecondaryAngle": 3.0, "TableHeadTiltAngle": 0.0,
    "PositionerIsocenterDetectorRotationAngle": 90.0, "DetectorPrimaryAngle": "0", "ColumnAngulation": "0",
}  # fmt: skip
WORDS = {
    "PatientOrientation": ["L", "F"], "PatientPosition": "HFS", "FieldOfViewShape": "RECTANGLE", "PositionerType": "CARM",
    "PixelSpacingCalibrationType": "GEOMETRY", "FieldOfViewHorizontalFlip": "NO", "PositionerMotion": "DYNAMIC",
    "CassetteSize": "35CMX43CM", "CArmPositionerTabletopRelationship": "YES",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_value_of_any_element_brings_nonsense_or_an_exception():
    """Two thousand headers, each with a few elements absurd: what comes out is finite, in range, or left out."""
    rng = np.random.default_rng(0)
    tried = 0
    for _ in range(2000):
        dataset = header(**NUMBERS, **WORDS)
        for keyword in rng.choice([*NUMBERS, *WORDS], 4, replace=False):
            good = NUMBERS.get(keyword, WORDS.get(keyword))
            bad = [
                None,
                "",
                "0",
                "-1",
                "1e9",
                "1e-9",
                float("nan"),
                float("inf"),
                "abc",
                ["1", "2", "3"],
                good,
                [good] if isinstance(good, str) else good,
            ]
            with contextlib.suppress(TypeError, ValueError, OverflowError):  # what pydicom itself does not take
                setattr(dataset, keyword, bad[rng.integers(len(bad))])
                tried += 1
        found = read_geometry(dataset, mirrored=[None, True, False][rng.integers(3)])
        v = found.values
        assert v["sdd"] is None or 100 <= v["sdd"] <= 5000
        assert v["sod"] is None or 100 <= v["sod"] <= min(5000, v["sdd"] or 5000)
        assert v["spacing"] is None or 0.01 <= min(v["spacing"]) <= max(v["spacing"]) <= 10
        assert v["principal_point"] is None or np.isfinite(v["principal_point"]).all()
        assert set(found.origins.values()) <= {"tag", "derived", "assumed", "user"}
        assert all(note.endswith(".") and "\n" not in note for note in found.notes)
        pose = header_pose(v, np.zeros(3), 700.0)
        assert pose is None or check_rigid(pose) is not None
    assert tried > 6000


def item(**elements) -> list[Dataset]:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return [dataset]


def test_functional_groups_give_each_frame_its_own_geometry():
    """X-ray geometry, field of view, positioner, calibration: PS3.3 C.8.19.6.14, .2, .10 and C.8.19.5."""
    pitch = 0.154
    dataset = header(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.12.1.1", Rows=480, Columns=600, NumberOfFrames=2, PositionerType="CARM",
        DetectorElementSpacing=[pitch, pitch], PhysicalDetectorSize=[1920 * pitch, 2480 * pitch],
    )  # fmt: skip
    dataset.SharedFunctionalGroupsSequence = item(
        FieldOfViewSequence=item(
            FieldOfViewShape="RECTANGLE", FieldOfViewDimensionsInFloat=[480 * 4 * pitch, 600 * 4 * pitch],
            FieldOfViewOrigin=[0.0, 50.0], FieldOfViewRotation=0.0, FieldOfViewHorizontalFlip="NO",
        )
    )  # fmt: skip
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            XRayGeometrySequence=item(DistanceSourceToDetector=sid, DistanceSourceToIsocenter=750.0),
            PositionerPositionSequence=item(PositionerPrimaryAngle=angle, PositionerSecondaryAngle=2.0),
        )[0]
        for sid, angle in ((1100.0, -30.0), (1180.0, 15.0))
    ]
    for frame, sid, angle in ((0, 1100, -30), (1, 1180, 15)):
        found = read_geometry(plain(dataset, frame))
        assert (found.values["sdd"], found.values["sod"], found.values["primary_angle"]) == (sid, 750, angle)
        np.testing.assert_allclose(found.values["spacing"], (4 * pitch, 4 * pitch), rtol=1e-6)
        # The detector's centre is 1240 elements from its edge: 1190 from the image's, so 297.5 px.
        column = 599 - found.values["principal_point"][0]  # mirrored
        assert (column, found.values["principal_point"][1]) == pytest.approx((297.0, 239.5))
        assert found.origins["spacing"] == found.origins["principal_point"] == "derived"


def test_a_file_keeps_notes_and_all_of_its_geometry(tmp_path):
    import pydicom

    path = tmp_path / "run.dcm"
    write_dicom_dx(path, np.zeros((30, 40), np.uint16), Intrinsics.centered(1000.0, (0.4, 0.4), (40, 30)))
    dataset = pydicom.dcmread(path)
    dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = "20", "-5"
    dataset.PatientOrientation, dataset.PatientPosition = ["R", "F"], "HFP"
    dataset.FieldOfViewOrigin, dataset.PhysicalDetectorSize = [0, 5], [12.0, 20.0]
    dataset.save_as(path)
    parts = read_xray_parts(path)
    assert (parts.mirrored, parts.rotation, parts.origins["principal_point"]) == (False, 0, "derived")
    assert parts.principal_point == pytest.approx((25 - 5 - 0.5, 14.5))
    assert any("HFP" in note for note in parts.notes)
    assert parts.known["rotation"] == 0
    other = parts.shown(True, "user")
    assert other.principal_point == pytest.approx((39 - 19.5, 14.5))
    pixel = [project([5.0, 6.0, 700.0], np.eye(4), p.complete().intrinsics) for p in (parts, other)]
    assert pixel[0][0] - 19.5 == pytest.approx(
        19.5 - pixel[1][0]
    )  # the stored point stays; what is left of it is right
