"""Segmentations of every format, against libraries and files that nobody here wrote."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.sr.codedict import codes

from Testing.Python.unit.ct_series import HEIGHTS, SHAPE, along_normal, ct_slice, hu, masks, save
from Testing.Python.unit.mutations import mutated
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.drawing import Structures
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.colors import color_of_label, rgb_of_cielab
from XVRegistrationLib.imaging.segmentation import Code, Segment, Segmentation
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.rendering.labels import label_grid

COLORS = {1: (0.9, 0.2, 0.1), 2: (0.2, 0.6, 0.9)}


@pytest.fixture(scope="module")
def slices() -> list[pydicom.Dataset]:
    array = hu(SHAPE)
    return [ct_slice(array[k], p, k + 1) for k, p in enumerate(along_normal(HEIGHTS))]


@pytest.fixture(scope="module")
def ct(slices: list[pydicom.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    for k, d in enumerate(slices):
        save(d, folder / f"{k}.dcm")
    return folder


def written_by_highdicom(
    path: Path, slices: list[pydicom.Dataset], kind: str, pixels: np.ndarray, omit: bool = True
) -> Path:
    seg = highdicom.seg
    describe = [
        seg.SegmentDescription(
            segment_number=n,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=code,
            algorithm_type=seg.SegmentAlgorithmTypeValues.MANUAL,
            display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * c) for c in COLORS[n])),
            anatomic_regions=[codes.SCT.Thorax],
        )
        for n, label, code in ((1, "body", codes.SCT.SoftTissue), (2, "rib", codes.SCT.Rib))
    ]
    made = seg.Segmentation(
        source_images=slices,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=describe,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=omit,
    )
    made.save_as(path)
    return path


@pytest.mark.parametrize("omit", [True, False])
def test_overlapping_segments_of_a_dicom_segmentation_are_kept_whole(
    tmp_path: Path, slices: list[pydicom.Dataset], ct: Path, omit: bool
) -> None:
    path = written_by_highdicom(tmp_path / "seg.dcm", slices, "BINARY", masks().astype(np.uint8), omit)
    found = read_segmentation(path)
    assert found.names == {1: "body", 2: "rib"}
    assert len(found.layers) == 2
    rib = found.segments[1].terminology
    assert rib is not None
    assert (rib.type, rib.region) == (Code("SCT", "113197003", "Rib"), Code("SCT", "816094009", "Thorax"))
    for value, color in COLORS.items():
        np.testing.assert_allclose(found.colors[value], color, atol=0.01)
    volume = read_volume(ct)
    on_ct = found.on_grid(volume.array.shape, volume.ijk_to_ras)
    for n, value in enumerate((1, 2)):
        np.testing.assert_array_equal(on_ct.mask(value), masks()[..., n])
    # Both grids are whole where they overlap; of a single image the smaller one keeps its voxels.
    grid = label_grid(found, [1, 2])
    assert grid.values == (1, 2)
    assert [int((g.data > 0).sum()) for g in grid.layers] == [int(masks()[..., n].sum()) for n in (0, 1)]
    np.testing.assert_array_equal(on_ct.label_map().array, np.where(masks()[..., 1], 2, masks()[..., 0]))


def test_dcmqi_reads_the_same_voxels_at_the_same_places(tmp_path: Path, slices: list[pydicom.Dataset]) -> None:
    path = written_by_highdicom(tmp_path / "seg.dcm", slices, "BINARY", masks().astype(np.uint8))
    program = Path(sysconfig.get_path("scripts")) / "segimage2itkimage"
    subprocess.run(
        [program, "--inputDICOM", path, "--outputDirectory", tmp_path, "-p", "their"], check=True, capture_output=True
    )
    ours = read_segmentation(path)
    said = json.loads((tmp_path / "their-meta.json").read_text())["segmentAttributes"]
    for value, attributes in enumerate((a[0] for a in said), start=1):
        image = sitk.ReadImage(str(tmp_path / f"their-{value}.nrrd"))
        kji = np.argwhere(sitk.GetArrayFromImage(image) != 0)
        theirs = np.array([image.TransformIndexToPhysicalPoint([int(n) for n in index[::-1]]) for index in kji])
        np.testing.assert_allclose(_sorted(ours.points([value]) * [-1, -1, 1]), _sorted(theirs), atol=1e-3)
        assert attributes["SegmentLabel"] == ours.names[value]
        np.testing.assert_allclose(
            ours.colors[value], np.array(attributes["recommendedDisplayRGBValue"]) / 255, atol=0.02
        )


def _sorted(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(2).T)]


def test_a_fractional_segmentation_is_what_is_at_least_half_inside(
    tmp_path: Path, slices: list[pydicom.Dataset]
) -> None:
    share = masks() * np.array([0.4, 0.8])
    found = read_segmentation(written_by_highdicom(tmp_path / "f.dcm", slices, "FRACTIONAL", share.astype(np.float32)))
    assert found.names == {1: "body", 2: "rib"}
    assert not found.mask(1).any()
    assert int(found.mask(2).sum()) == int(masks()[..., 1].sum())


def test_a_label_map_segmentation_has_one_layer(tmp_path: Path, slices: list[pydicom.Dataset], ct: Path) -> None:
    labels = np.where(masks()[..., 1], 2, masks()[..., 0]).astype(np.uint8)
    found = read_segmentation(written_by_highdicom(tmp_path / "l.dcm", slices, "LABELMAP", labels))
    assert found.names == {1: "body", 2: "rib"}
    volume = read_volume(ct)
    np.testing.assert_array_equal(found.on_grid(volume.array.shape, volume.ijk_to_ras).layers[0], labels)


def test_a_folder_holds_one_dicom_segmentation(tmp_path: Path, slices: list[pydicom.Dataset]) -> None:
    written_by_highdicom(tmp_path / "a.dcm", slices, "BINARY", masks().astype(np.uint8))
    save(slices[0], tmp_path / "ct.dcm")
    assert read_segmentation(tmp_path).names == {1: "body", 2: "rib"}
    written_by_highdicom(tmp_path / "b.dcm", slices, "BINARY", masks().astype(np.uint8))
    with pytest.raises(InputError, match="holds 2 DICOM segmentations"):
        read_segmentation(tmp_path)


def test_a_ct_a_damaged_and_an_unplaced_segmentation_are_refused(tmp_path: Path, slices: list[pydicom.Dataset]) -> None:
    save(slices[0], tmp_path / "ct.dcm")
    with pytest.raises(InputError, match="holds no labels"):
        read_segmentation(tmp_path)
    with pytest.raises(InputError, match="no DICOM segmentation but CT Image Storage"):
        read_segmentation(tmp_path / "ct.dcm")
    path = written_by_highdicom(tmp_path / "seg.dcm", slices, "BINARY", masks().astype(np.uint8))
    d = pydicom.dcmread(path)
    del d.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    d.save_as(tmp_path / "flat.dcm")
    with pytest.raises(InputError, match="does not say where"):
        read_segmentation(tmp_path / "flat.dcm")
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"cut.dcm cannot be read"):
        read_segmentation(tmp_path / "cut.dcm")


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("digits", [6, 3])
def test_hundreds_of_thin_slices_stay_where_they_are(tmp_path: Path, stated: bool, digits: int) -> None:
    distance, count = 250 / 512, 400
    thin = [
        ct_slice(np.zeros((4, 4), np.int16), np.round(p, digits), k + 1, SliceThickness=distance)
        for k, p in enumerate(along_normal(np.arange(count) * distance))
    ]
    pixels = np.ones((count, 4, 4, 2), np.uint8)
    pixels[::7] = 0  # those frames are left out
    d = pydicom.dcmread(written_by_highdicom(tmp_path / "seg.dcm", thin, "BINARY", pixels))
    if not stated:
        measures = d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        del measures.SliceThickness
        measures.pop("SpacingBetweenSlices", None)
    d.save_as(tmp_path / "seg.dcm")
    found = read_segmentation(tmp_path / "seg.dcm")
    assert np.linalg.norm(found.ijk_to_ras[:3, 2]) == pytest.approx(distance, abs=1e-5)
    np.testing.assert_array_equal(found.mask(1)[:, 0, 0], pixels[1:399, 0, 0, 0] != 0)  # 0 and 399 are empty


def test_frames_in_several_orientations_are_refused(tmp_path: Path, slices: list[pydicom.Dataset]) -> None:
    d = pydicom.dcmread(written_by_highdicom(tmp_path / "seg.dcm", slices, "BINARY", masks().astype(np.uint8)))
    turned = pydicom.Dataset()
    turned.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    d.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [turned]
    d.save_as(tmp_path / "seg.dcm")
    with pytest.raises(InputError, match=r"seg\.dcm has frames in several orientations"):
        read_segmentation(tmp_path / "seg.dcm")


def test_a_label_map_is_a_segmentation_without_colours(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.where(masks()[..., 1], 2, masks()[..., 0]).astype(np.uint8))
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        sitk.WriteImage(image, tmp_path / f"labels{suffix}")
        found = read_segmentation(tmp_path / f"labels{suffix}", {2: "rib"})
        assert found.names == {1: "label 1", 2: "rib"}
        assert found.colors == {}
        np.testing.assert_array_equal(found.mask(2), masks()[..., 1])


def test_segments_stay_where_they_are_on_another_grid() -> None:
    matrix = np.diag([1.5, 2.0, 2.5, 1.0])
    matrix[:3, 3] = (3.0, -7.0, 11.0)
    layers = tuple(masks()[..., n].astype(np.uint8) * (n + 1) for n in (0, 1))
    found = Segmentation(layers, matrix, (Segment(1, "body", 0), Segment(2, "rib", 1)))
    turned = np.array([[0, 0.9, 0, -2], [-1.0, 0, 0, 25], [0, 0, 1.1, 5], [0, 0, 0, 1.0]])
    other = found.on_grid((30, 30, 40), turned)
    for value in (1, 2):
        kji = np.stack(np.meshgrid(*map(np.arange, (30, 30, 40)), indexing="ij"), axis=-1)
        back = transform_points(np.linalg.inv(matrix) @ turned, kji[..., ::-1])[..., ::-1]
        nearest = np.rint(back).astype(int)
        inside = ((nearest >= 0) & (nearest < SHAPE)).all(axis=-1)
        expected = np.zeros((30, 30, 40), bool)
        expected[inside] = found.mask(value)[tuple(nearest[inside].T)]
        ties = (np.abs(np.abs(back - np.floor(back)) - 0.5) < 1e-6).any(axis=-1)
        assert expected.any()
        np.testing.assert_array_equal(other.mask(value)[~ties], expected[~ties])
    with pytest.raises(InputError, match="no structure named skull; it has "):
        found.values(["skull"])


def test_colours_agree_with_highdicoms() -> None:
    for rgb in (
        (255, 255, 255),
        (0, 0, 0),
        (128, 174, 128),
        (241, 214, 145),
        (216, 101, 79),
        (20, 60, 250),
        (255, 0, 0),
    ):
        lab = highdicom.color.CIELabColor.from_rgb(*rgb).value
        np.testing.assert_allclose(rgb_of_cielab(*lab), np.array(rgb) / 255, atol=0.006)


def test_pictures_show_overlapping_structures_in_their_own_colours() -> None:
    layers = tuple(masks()[..., n].astype(np.uint8) * (n + 1) for n in (0, 1))
    found = Segmentation(
        layers, np.diag([4.0, 4.0, 4.0, 1]), (Segment(1, "body", 0, (0.1, 0.2, 0.3)), Segment(2, "rib", 1))
    )
    center = transform_points(found.ijk_to_ras, (np.array(SHAPE[::-1]) - 1) / 2)
    pose = NominalView("AP", tuple(center), 700.0).pose
    camera = Intrinsics.centered(1000.0, (1.0, 1.0), (128, 128))
    body, rib = Structures.of(found, [1, 2]).outlines(pose, camera)
    assert (body[0], body[1]) == ("body", (0.1, 0.2, 0.3))
    assert (rib[0], rib[1]) == ("rib", color_of_label(2))
    assert rib[2].any()
    assert (body[2] | ~rib[2]).all()  # the bone is in the body, from everywhere


@pytest.mark.filterwarnings("error")  # pydicom's quote what a file holds
@pytest.mark.parametrize(
    "numbers", [range(60), pytest.param(range(100, 900), marks=pytest.mark.long)], ids=["sample", "many"]
)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_damaged_segmentations_end_in_segments_or_sentences(
    kind: str, numbers: range, tmp_path: Path, slices: list[pydicom.Dataset]
) -> None:
    pixels = masks().astype(np.uint8) if kind == "BINARY" else masks()[..., 1].astype(np.uint8)
    path = written_by_highdicom(tmp_path / "seg.dcm", slices, kind, pixels)
    good, wrong = path.read_bytes(), []
    for number in numbers:
        path.write_bytes(mutated(good, np.random.default_rng([len(kind), number])))
        try:
            if not np.isfinite(read_segmentation(path).ijk_to_ras).all():
                wrong.append(f"{number}: it lies nowhere")
        except InputError as e:
            if path.name not in str(e) or "\n" in str(e):
                wrong.append(f"{number}: {e}")
    assert not wrong, "\n".join(wrong)
