"""Runs of several frames: one, all, extremes over time, Enhanced objects, moving C-arms and digital subtraction."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from Testing.Python.unit.dicom_files import compressed, item, noise, write_enhanced_xa, write_xray
from XVRegistrationLib.cli.main import parser
from XVRegistrationLib.cli.starts import check_options
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import plain
from XVRegistrationLib.imaging.dicom.subtraction import frames_of_text, text_of_frames
from XVRegistrationLib.imaging.xray_files import can_be_subtracted, read_run, read_xray, read_xray_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

RUN = noise((5, 30, 40), 4096)


def test_a_run_asks_which_frame_and_says_how_many_there_are(tmp_path: Path) -> None:
    path = write_xray(tmp_path / "run.dcm", RUN, bits=12)
    with pytest.raises(InputError, match=r"run\.dcm holds 5 frames: .*0 to 4, or min, max or mean"):
        read_xray_parts(path)
    with pytest.raises(InputError, match="no frame 5: it holds 5 frames, 0 to 4"):
        read_xray_parts(path, frame=5)
    with pytest.raises(InputError, match="no frame -1"):
        read_xray_parts(path, frame=-1)
    with pytest.raises(InputError, match="not 'median'"):
        read_xray_parts(path, frame="median")
    single = write_xray(tmp_path / "one.dcm", RUN[0], bits=12)
    assert read_xray_parts(single, frame=0).name == "one"
    with pytest.raises(InputError, match="one frame, 0"):
        read_xray_parts(single, frame=1)


def test_each_frame_of_a_run_is_itself_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = write_xray(tmp_path / "run.dcm", RUN, bits=12)
    run = read_run(path)
    assert np.array_equal(np.stack([parts.pixels for parts in run]), RUN)
    assert [parts.name for parts in run] == [f"run-{i:04d}" for i in range(5)]
    assert {(parts.frames, parts.frame == i) for i, parts in enumerate(run)} == {(5, True)}
    one = read_xray_parts(path, frame=3)
    assert np.array_equal(one.pixels, RUN[3])
    assert (one.name, one.frame, one.frames) == ("run-0003", 3, 5)
    assert [parts.frame for parts in read_run(path, slice(1, None, 2))] == [1, 3]
    with pytest.raises(InputError, match="None of the 5 frames"):
        read_run(path, slice(7, 9))


@pytest.mark.parametrize("relationship", ["LIN", "DISP"])
def test_extremes_over_time_are_of_the_radiation_whatever_bright_means(tmp_path: Path, relationship: str) -> None:
    path = write_xray(tmp_path / "run.dcm", RUN, bits=12, PixelIntensityRelationship=relationship)
    least, most, mean = (read_xray_parts(path, frame=how) for how in ("min", "max", "mean"))
    # Where dense is bright the stored values have been turned around.
    as_read = (lambda v: v) if relationship == "LIN" else (lambda v: 4095 - v)
    assert np.array_equal(least.pixels, as_read(RUN.min(axis=0)))
    assert np.array_equal(most.pixels, as_read(RUN.max(axis=0)))
    assert np.allclose(mean.pixels, as_read(RUN.mean(axis=0)))
    assert (least.name, least.frame, least.frames) == ("run-min", None, 5)


def test_extremes_over_time_hold_a_few_frames_and_not_the_run(tmp_path: Path) -> None:
    run = noise((40, 128, 128), 4096)
    path = compressed(write_xray(tmp_path / "a.dcm", run, bits=12), "RLELossless", tmp_path / "b.dcm")
    del run
    read_xray_parts(path, frame="min")
    tracemalloc.start()
    read_xray_parts(path, frame="min")
    read_xray_parts(path, frame=30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 128 * 128 * 2  # of 40


def test_an_enhanced_angiogram_has_the_pixels_that_simpleitk_reads_and_each_frame_s_geometry(tmp_path: Path) -> None:
    path = write_enhanced_xa(tmp_path / "e.dcm", RUN[:3])
    run = read_run(path)
    pixels = np.stack([parts.pixels for parts in run])
    assert np.array_equal(pixels, RUN[:3])
    assert np.array_equal(pixels, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    assert [(p.primary_angle, p.secondary_angle) for p in run] == [(0.0, -5.0), (10.0, -5.0), (20.0, -5.0)]
    assert {(p.sdd, p.spacing, p.scale, p.origins["sdd"], p.origins["scale"]) for p in run} == {
        (1100.0, (0.3, 0.4), "intensity", "tag", "tag")
    }
    assert run[1].mask is not None
    assert run[1].mask[:, 4:].all()
    assert not run[1].mask[:, :4].any()
    assert read_xray(path, frame=2, mirrored=True).intrinsics.mirrored is True
    assert read_xray_parts(path, frame=2).primary_angle == 20.0


def test_the_groups_of_a_frame_win_over_those_that_all_share_and_the_file_is_not_changed(tmp_path: Path) -> None:
    path = write_enhanced_xa(tmp_path / "e.dcm", RUN[:3])
    d = pydicom.dcmread(path)
    d.PerFrameFunctionalGroupsSequence[1].XRayGeometrySequence = [item(DistanceSourceToDetector=1200.0)]
    assert [float(plain(d, i).DistanceSourceToDetector) for i in range(3)] == [1100.0, 1200.0, 1100.0]
    assert "DistanceSourceToDetector" not in d
    assert "PixelData" in d
    # More frames than groups: what is shared is still known.
    assert float(plain(d, 9).DistanceSourceToDetector) == 1100.0


def test_a_table_to_linear_makes_an_enhanced_image_one_of_intensities(tmp_path: Path) -> None:
    squares = (np.arange(4096) ** 2 // 256).astype("<u2")
    tables = [
        item(LUTDescriptor=[4096, 0, 16], LUTData=data.tobytes(), LUTFunction=function)
        for function, data in (("TO_LOG", squares[::-1].copy()), ("TO_LINEAR", squares))
    ]
    path = write_enhanced_xa(tmp_path / "e.dcm", RUN[:3])
    d = pydicom.dcmread(path)
    shared = d.SharedFunctionalGroupsSequence[0]
    shared.FramePixelDataPropertiesSequence[0].PixelIntensityRelationship = "LOG"
    shared.PixelIntensityRelationshipLUTSequence = tables
    d.save_as(path)
    parts = read_xray_parts(path, frame=1)
    assert (parts.scale, parts.origins["scale"]) == ("intensity", "tag")
    assert np.array_equal(parts.pixels, squares[RUN[1]])


def test_the_angles_of_a_c_arm_that_moves_are_those_of_each_frame(tmp_path: Path) -> None:
    moving = {"PositionerMotion": "DYNAMIC", "PositionerPrimaryAngle": -30, "PositionerSecondaryAngle": 5}
    offsets = [0, 1.5, 3, 4.5, 6.25]
    elements = {"PositionerPrimaryAngleIncrement": offsets, "PositionerSecondaryAngleIncrement": 2}
    path = write_xray(tmp_path / "a.dcm", RUN, bits=12, **moving, **elements)
    run = read_run(path)
    assert [parts.primary_angle for parts in run] == [-30 + o for o in offsets]
    assert [parts.secondary_angle for parts in run] == [5.0, 7.0, 9.0, 11.0, 13.0]
    with pytest.raises(InputError, match=r"turned by 8 degrees during .*a\.dcm"):
        read_xray_parts(path, frame="min")
    still = write_xray(tmp_path / "b.dcm", RUN, bits=12, **moving, PositionerPrimaryAngleIncrement=[0] * 5)
    assert read_xray_parts(still, frame="min").primary_angle == -30.0


def test_a_c_arm_that_swung_out_and_back_did_not_stand_still(tmp_path: Path) -> None:
    moving = {"PositionerMotion": "DYNAMIC", "PositionerPrimaryAngle": 10, "PositionerSecondaryAngle": 5}
    path = write_xray(tmp_path / "a.dcm", RUN, bits=12, **moving, PositionerPrimaryAngleIncrement=[0, 9, 12, 8, 0])
    with pytest.raises(InputError, match=r"turned by 12 degrees during .*a\.dcm"):
        read_xray_parts(path, frame="mean")
    # Beyond 180 degrees angles begin anew.
    moving["PositionerPrimaryAngle"] = 180
    jitter = [0, -359.8, -0.1, -359.9, 0]
    path = write_xray(tmp_path / "b.dcm", RUN, bits=12, **moving, PositionerPrimaryAngleIncrement=jitter)
    assert read_xray_parts(path, frame="mean").primary_angle == 180.0


BODY = 3000 * np.exp(-noise((30, 40), 1000, seed=5, dtype=np.float64) / 800)
VESSEL = ndimage.gaussian_filter((noise((30, 40), 100, seed=6) > 90) * 1.0, 1.0)


def angiogram(path: Path, masks: list[Dataset], fillings: tuple[float, ...], **elements: Any) -> Path:
    """A run through a body in which a vessel of known line integral fills."""
    frames = np.stack([BODY * np.exp(-filling * VESSEL) for filling in fillings])
    return write_xray(path, np.round(16 * frames).astype(np.uint16), MaskSubtractionSequence=masks, **elements)


def test_subtraction_of_linear_frames_leaves_the_line_integral_of_the_contrast(tmp_path: Path) -> None:
    averaged = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 2], ApplicableFrameRange=[3, 5])
    path = angiogram(tmp_path / "a.dcm", [averaged], (0, 0, 0.5, 1, 2))
    run = read_run(path, subtract=True)
    assert [parts.frame for parts in run] == [2, 3, 4]
    for parts, filling in zip(run, (0.5, 1, 2), strict=True):
        assert parts.scale == "attenuation"
        assert np.abs(parts.pixels - filling * VESSEL).max() < 0.002
    filled = read_xray_parts(path, frame="min", subtract=True)
    assert np.abs(filled.pixels - 2 * VESSEL).max() < 0.002
    with pytest.raises(InputError, match=r"mask of frame 0 \(MaskSubtractionSequence"):
        read_xray_parts(path, frame=0, subtract=True)
    assert read_xray_parts(path, frame=4).scale == "intensity"


def test_subtraction_in_time_and_reversed_time_take_the_frames_that_the_standard_says(tmp_path: Path) -> None:
    fillings = (0, 0.25, 1, 2, 4)
    tid = angiogram(tmp_path / "a.dcm", [item(MaskOperation="TID", TIDOffset=2)], fillings)
    run = read_run(tid, subtract=True)
    assert [parts.frame for parts in run] == [2, 3, 4]
    for parts in run:
        truth = (fillings[parts.frame or 0] - fillings[(parts.frame or 0) - 2]) * VESSEL
        assert np.abs(parts.pixels - truth).max() < 0.004
    reversed_ = item(MaskOperation="REV_TID", TIDOffset=1, ApplicableFrameRange=[3, 4])
    run = read_run(angiogram(tmp_path / "b.dcm", [reversed_], fillings), subtract=True)
    # Frames 3 and 4 (from 1) less frames 2 and 1.
    for parts, truth in zip(run, (0.75, 2.0), strict=True):
        assert np.abs(parts.pixels - truth * VESSEL).max() < 0.004


def test_the_mask_is_shifted_and_contrast_frames_are_averaged_as_the_file_says(tmp_path: Path) -> None:
    moved = np.roll(BODY, (2, -1), axis=(0, 1))
    frames = np.round(16 * np.stack([BODY, moved * np.exp(-VESSEL), moved * np.exp(-2 * VESSEL)])).astype(np.uint16)
    how = item(
        MaskOperation="AVG_SUB", MaskFrameNumbers=1, ApplicableFrameRange=[2, 2], ContrastFrameAveraging=2, MaskSubPixelShift=[2.0, -1.0]
    )  # fmt: skip
    path = write_xray(tmp_path / "a.dcm", frames, MaskSubtractionSequence=[how])
    found = read_xray_parts(path, frame=1, subtract=True).pixels
    assert np.abs(found - 1.5 * VESSEL)[4:-4, 4:-4].max() < 0.002


def test_a_file_without_masks_or_whose_operation_is_none_says_so(tmp_path: Path) -> None:
    for masks in ([], [item(MaskOperation="NONE", MaskFrameNumbers=0)]):
        path = angiogram(tmp_path / "a.dcm", masks, (0, 1))
        with pytest.raises(InputError, match="name the mask frames yourself, or use it as it is"):
            read_run(path, subtract=True)


def test_who_says_which_frames_are_the_mask_subtracts_them_from_all_others(tmp_path: Path) -> None:
    elsewhere = item(MaskOperation="AVG_SUB", MaskFrameNumbers=4)
    fillings = (0.5, 0, 0, 1, 2)
    for masks in ([], [elsewhere]):
        path = angiogram(tmp_path / "a.dcm", masks, fillings)
        run = read_run(path, subtract=(1, 2))
        assert [parts.frame for parts in run] == [0, 3, 4]
        for parts, filling in zip(run, (0.5, 1, 2), strict=True):
            assert parts.scale == "attenuation"
            assert np.abs(parts.pixels - filling * VESSEL).max() < 0.002
    single = read_xray_parts(path, frame=3, subtract=(1,))
    assert np.abs(single.pixels - VESSEL).max() < 0.002
    filled = read_xray_parts(path, frame="min", subtract=(1, 2))
    assert np.abs(filled.pixels - 2 * VESSEL).max() < 0.002
    for frame, mask, said in (
        (1, (1, 2), "Frame 1 of .* is a mask frame itself"),
        (0, (5,), "no frame 5 to be a mask"),
    ):
        with pytest.raises(InputError, match=said):
            read_xray_parts(path, frame=frame, subtract=mask)
    with pytest.raises(InputError, match="is a mask frame itself"):
        read_run(path, subtract=tuple(range(5)))
    turned = angiogram(
        tmp_path / "b.dcm", [], fillings, PositionerPrimaryAngle=0, PositionerPrimaryAngleIncrement=[0, 0, 0, 0, 9]
    )
    assert len(read_run(turned, slice(0, 4), subtract=(1,))) == 3
    with pytest.raises(InputError, match="turned by 9 degrees between these frames"):
        read_xray_parts(turned, frame=4, subtract=(1,))


def test_a_stack_of_images_is_subtracted_by_the_frames_that_are_named(tmp_path: Path) -> None:
    frames = np.stack([BODY * np.exp(-filling * VESSEL) for filling in (0, 1, 2)]).astype(np.float32)
    path = tmp_path / "run.mha"
    sitk.WriteImage(sitk.GetImageFromArray(frames), path)
    run = read_run(path, scale="intensity", subtract=(0,))
    assert [parts.frame for parts in run] == [1, 2]
    for parts, filling in zip(run, (1, 2), strict=True):
        assert parts.scale == "attenuation"
        assert np.abs(parts.pixels - filling * VESSEL).max() < 1e-5
    filled = read_xray_parts(path, scale="intensity", frame="min", subtract=(0,))
    assert np.abs(filled.pixels - 2 * VESSEL).max() < 1e-5
    with pytest.raises(InputError, match="name the mask frames yourself"):
        read_run(path, subtract=True)


def test_a_list_of_frames_is_read_from_its_text() -> None:
    assert frames_of_text(" 0-2, 7,9 - 9") == (0, 1, 2, 7, 9)
    for frames in ((0,), (3, 4, 5), (0, 2, 3, 9)):
        assert frames_of_text(text_of_frames(frames)) == frames
    for text in ("", "-1", "3-1", "a", "0:3", "1,,2", "0-999999999"):
        with pytest.raises(InputError, match="Mask frames are numbers"):
            frames_of_text(text)


def test_whether_a_frame_can_be_subtracted_is_known_before(tmp_path: Path) -> None:
    averaged = item(MaskOperation="AVG_SUB", MaskFrameNumbers=1, ApplicableFrameRange=[2, 3])
    path = angiogram(tmp_path / "a.dcm", [averaged], (0, 1, 2))
    assert [can_be_subtracted(path, frame) for frame in (None, 0, 1, 2, "min")] == [True, False, True, True, True]
    assert not can_be_subtracted(angiogram(tmp_path / "b.dcm", [], (0, 1)))
    picture = tmp_path / "stack.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(RUN), str(picture))
    assert not can_be_subtracted(picture)
    for read in (lambda: read_run(picture, subtract=True), lambda: read_xray_parts(picture, frame=0, subtract=True)):
        with pytest.raises(InputError, match="is no DICOM file: nothing says which frames are the mask"):
            read()
    with pytest.raises(InputError, match=r"gone\.dcm"):
        can_be_subtracted(tmp_path / "gone.dcm")


@pytest.mark.parametrize("suffix", [".nrrd", ".tif"])
def test_a_stack_of_images_is_a_run(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stack{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(RUN), str(path))
    assert np.array_equal(np.stack([parts.pixels for parts in read_run(path)]), RUN)
    assert read_xray_parts(path, frame=1).name == "stack-0001"
    # Dense is bright here, so that the least radiation is the highest value.
    assert np.array_equal(read_xray_parts(path, frame="min").pixels, RUN.max(axis=0))
    assert np.array_equal(read_xray_parts(path, frame="min", scale="intensity").pixels, RUN.min(axis=0))
    assert read_xray_parts(path, frame="mean", sid=900.0, spacing=0.3).complete().name == "stack-mean"
    with pytest.raises(InputError, match="5 frames"):
        read_xray_parts(path)


def register(*arguments: str) -> Any:
    return parser().parse_args(["register", "MODEL", "run.dcm", "-o", "out", *arguments])


def test_the_command_takes_a_number_a_word_or_with_series_a_range() -> None:
    assert register("--frame", "12").frame == 12
    assert register("--frame", "max").frame == "max"
    assert register("--series", "--frame", "3:").frame == slice(3, None)
    check_options(register("--series", "--frame", "3:9"))
    check_options(register("--frame", "3"))
    for wrong in (("--series", "--frame", "3"), ("--frame", "3:9")):
        with pytest.raises(InputError, match="range A:B with --series"):
            check_options(register(*wrong))
    with pytest.raises(SystemExit):
        register("--frame", "first")


def test_pixels_of_a_run_can_be_changed_without_changing_another_frame(tmp_path: Path) -> None:
    run = read_run(write_xray(tmp_path / "a.dcm", RUN, bits=12))
    changed: NDArray[Any] = run[0].pixels
    changed[:] = 0
    assert np.array_equal(run[1].pixels, RUN[1])
