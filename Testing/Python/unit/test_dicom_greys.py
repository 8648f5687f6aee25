"""What grey values mean: relationship, tables, windows, padding and shutters of DICOM X-rays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from skimage import draw

from Testing.Python.unit.dicom_files import CR, RT_IMAGE, SC, XA, noise, write_xray
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.plain_words import dicom_words
from XVRegistrationLib.imaging.usable import usable
from XVRegistrationLib.imaging.xray_files import read_xray_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VALUES = noise((30, 40), 4096)


def table(values: NDArray[Any], first: int = 0, **elements: Any) -> Dataset:
    """A look-up table of 16 bits."""
    item = Dataset()
    item.LUTDescriptor = [len(values) % 2**16, first, 16]
    item.LUTData = np.asarray(values).astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


@pytest.mark.parametrize("relationship", ["DISP", "DRM", "OTHER", "SQRT", None])
def test_an_angiogram_made_for_display_is_taken_as_shown_and_said_to_be_assumed(
    tmp_path: Path, relationship: str | None
) -> None:
    parts = read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, bits=12, PixelIntensityRelationship=relationship))
    assert (parts.scale, parts.origins["scale"]) == ("attenuation", "assumed")
    assert np.array_equal(parts.pixels, 4095 - VALUES)


def test_windows_change_no_value_and_a_falling_table_says_that_it_is_shown_inverted(tmp_path: Path) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"}
    rising, falling = (table(np.arange(4096)[::step] * 16) for step in (1, -1))
    shown: dict[str, NDArray[Any]] = {}
    for name, elements in {
        "window": window,
        "rising": {"VOILUTSequence": [rising]},
        "falling": {"VOILUTSequence": [falling]},
    }.items():
        path = write_xray(tmp_path / f"{name}.dcm", VALUES, CR, bits=12, PixelIntensityRelationship=None, **elements)
        shown[name] = read_xray_parts(path).pixels
    assert np.array_equal(shown["window"], VALUES)
    assert np.array_equal(shown["rising"], VALUES)
    assert np.array_equal(shown["falling"], 4095 - VALUES)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_is_about_stored_values_so_that_a_falling_rescale_turns_it(tmp_path: Path, sign: int) -> None:
    elements = {"PixelIntensityRelationshipSign": sign, "RescaleSlope": -2, "RescaleIntercept": 9000}
    parts = read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, CR, bits=12, **elements))
    assert parts.scale == "intensity"
    # Higher must mean more radiation: where the sign is 1 that is where the stored value is higher.
    order = np.corrcoef(parts.pixels.ravel(), sign * VALUES.ravel().astype(float))[0, 1]
    assert order == pytest.approx(1)


def test_signed_values_are_turned_around_without_overflow_and_back_again(tmp_path: Path) -> None:
    values = noise((30, 40), 2**16, dtype=np.int64).astype(np.int16)
    values[0, :2] = -(2**15), 2**15 - 1
    turned = read_xray_parts(write_xray(tmp_path / "a.dcm", values, PixelIntensityRelationship="DISP")).pixels
    assert np.array_equal(turned, -1 - values.astype(int))
    again = read_xray_parts(write_xray(tmp_path / "b.dcm", turned, PixelIntensityRelationship="DISP")).pixels
    assert np.array_equal(again, values)


def test_a_table_starts_where_it_says_and_holds_its_ends_beyond(tmp_path: Path) -> None:
    values = noise((30, 40), 200, dtype=np.int64).astype(np.int16) - 100
    squares = np.arange(100) ** 2
    path = write_xray(tmp_path / "a.dcm", values, ModalityLUTSequence=[table(squares, -50)])
    assert np.array_equal(read_xray_parts(path).pixels, np.clip(values.astype(int) + 50, 0, 99) ** 2)


def test_a_table_whose_ends_add_up_to_more_than_its_bits_hold_is_turned_around(tmp_path: Path) -> None:
    falling = np.linspace(65535, 30000, 4096).astype(np.uint16)
    elements = {"ModalityLUTSequence": [table(falling)], "PixelIntensityRelationshipSign": 1}
    pixels = read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, CR, bits=12, **elements)).pixels
    assert np.array_equal(pixels, 95535 - falling.astype(int)[VALUES])


def test_a_big_endian_file_says_the_same_of_tables_and_padding(tmp_path: Path) -> None:
    import pydicom

    values = VALUES.copy()
    values[:5] = 0x0102
    elements: dict[str, Any] = {"ModalityLUTSequence": [table(np.arange(4096) * 7)], "PixelPaddingValue": 0x0102}
    elements["PixelIntensityRelationshipSign"] = 1
    little = write_xray(tmp_path / "little.dcm", values, CR, bits=12, **elements)
    d = pydicom.dcmread(little)
    d.ModalityLUTSequence[0].LUTData = (np.arange(4096) * 7).astype(">u2").tobytes()
    d.PixelData = values.astype(">u2").tobytes()
    big = Dataset({element.tag: element for element in d})
    big.file_meta = d.file_meta
    big.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    big.save_as(tmp_path / "big.dcm", enforce_file_format=True)
    one, other = (read_xray_parts(tmp_path / f"{name}.dcm") for name in ("little", "big"))
    assert one.mask is not None
    assert other.mask is not None
    assert np.array_equal(one.mask, values != 0x0102)
    assert np.array_equal(one.mask, other.mask)
    assert np.array_equal(one.pixels, values * 7)
    assert np.array_equal(one.pixels, other.pixels)
    assert other.pixels.dtype.isnative


def test_a_table_that_is_cut_off_is_bad_input(tmp_path: Path) -> None:
    item = table(np.arange(100))
    item.LUTDescriptor = [4096, 0, 16]
    with pytest.raises(InputError, match=r"a\.dcm.*100 values"):
        read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, bits=12, ModalityLUTSequence=[item]))


@pytest.mark.parametrize("slope", [0, "NaN", "1e999"])
def test_an_absurd_rescale_is_bad_input(tmp_path: Path, slope: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    with pytest.raises(InputError, match=r"RescaleSlope|rescale"):
        read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, CR, bits=12, RescaleSlope=slope, RescaleIntercept=1))


def test_padding_does_not_count(tmp_path: Path) -> None:
    values = noise((30, 40), 4000) + 10
    values[:5], values[:, :3], values[-1, -1] = 0, 7, 9
    one = read_xray_parts(write_xray(tmp_path / "a.dcm", values, CR, bits=12, PixelPaddingValue=0)).mask
    assert one is not None
    assert np.array_equal(one, values != 0)
    elements = {"PixelPaddingValue": 9, "PixelPaddingRangeLimit": 0}
    several = read_xray_parts(write_xray(tmp_path / "b.dcm", values, CR, bits=12, **elements))
    assert several.mask is not None
    assert np.array_equal(several.mask, values > 9)
    absent = read_xray_parts(write_xray(tmp_path / "c.dcm", values, CR, bits=12, PixelPaddingValue=5000))
    assert absent.mask is None
    # It reaches what is compared.
    whole = read_xray_parts(tmp_path / "b.dcm", sid=1000.0, spacing=0.3).complete()
    counted = usable(whole)
    assert counted is not None
    assert not counted[values <= 9].any()


def test_signed_padding_is_known_by_its_bits(tmp_path: Path) -> None:
    values = noise((30, 40), 2000).astype(np.int16)
    values[:4] = -2000
    path = write_xray(tmp_path / "a.dcm", values, CR)
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    dataset.save_as(path)
    mask = read_xray_parts(path).mask
    assert mask is not None
    assert np.array_equal(mask, values != -2000)


def opening(path: Path, **elements: Any) -> NDArray[np.bool_]:
    mask = read_xray_parts(write_xray(path / "s.dcm", noise((60, 80), 4096), bits=12, **elements)).mask
    assert mask is not None
    return mask


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
def test_what_lies_between_the_edges_of_a_rectangle_counts(tmp_path: Path, kind: str) -> None:
    edges = {"LeftVertical": 11, "RightVertical": 71, "UpperHorizontal": 6, "LowerHorizontal": 60}
    named = {f"{kind}{name}Edge": value for name, value in edges.items()}
    mask = opening(tmp_path, **{f"{kind}Shape": "RECTANGULAR"}, **named)
    truth = np.zeros((60, 80), dtype=bool)
    truth[6:, 11:70] = True  # the lower edge is the image's own
    assert np.array_equal(mask, truth)


def test_what_lies_within_a_circle_counts_also_where_pixels_are_not_square(tmp_path: Path) -> None:
    circle = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [31, 41], "RadiusOfCircularShutter": 20}
    truth = np.zeros((60, 80), dtype=bool)
    truth[draw.disk((30, 40), 20, shape=truth.shape)] = True
    assert np.array_equal(opening(tmp_path, **circle), truth)
    # Rows twice as far apart as columns: the circle covers half as many.
    flat = opening(tmp_path, **circle, ImagerPixelSpacing=[0.4, 0.2])
    assert (flat[:, 40].sum(), flat[30].sum()) == (19, 39)


def test_what_lies_within_a_polygon_counts_and_shapes_are_combined(tmp_path: Path) -> None:
    vertices = np.array([(10, 5), (52, 20), (30, 75), (20, 41)])
    polygon = {"VerticesOfThePolygonalShutter": [int(v) for v in vertices.ravel()]}
    truth = draw.polygon2mask((60, 80), vertices - 1)
    edge = np.zeros_like(truth)
    edge[draw.polygon_perimeter(*(vertices - 1).T)] = True
    found = opening(tmp_path, ShutterShape="POLYGONAL", **polygon)
    assert np.array_equal(found | edge, truth | edge)
    edges = {"ShutterLeftVerticalEdge": 20, "ShutterRightVerticalEdge": 70}
    both = opening(tmp_path, ShutterShape=["POLYGONAL", "RECTANGULAR"], **polygon, **edges)
    found[:, :20] = found[:, 69:] = False
    assert np.array_equal(both, found)


def test_what_a_bitmap_shutter_covers_does_not_count(tmp_path: Path) -> None:
    bits = noise((20, 16), 2).astype(bool)
    path = write_xray(tmp_path / "a.dcm", noise((60, 80), 4096), ShutterShape="BITMAP", ShutterOverlayGroup=0x6002)
    import pydicom

    d = pydicom.dcmread(path)
    d.add_new(0x60020010, "US", 20)
    d.add_new(0x60020011, "US", 16)
    d.add_new(0x60020040, "CS", "G")
    d.add_new(0x60020050, "SS", [11, 61])
    d.add_new(0x60020100, "US", 1)
    d.add_new(0x60020102, "US", 0)
    d.add_new(0x60023000, "OW", np.packbits(bits.ravel(), bitorder="little").tobytes())
    d.save_as(path)
    mask = read_xray_parts(path).mask
    truth = np.ones((60, 80), dtype=bool)
    truth[10:30, 60:76] = ~bits
    assert mask is not None
    assert np.array_equal(mask, truth)


@pytest.mark.parametrize(
    "elements",
    [
        {"CollimatorShape": "RECTANGULAR", "CollimatorLeftVerticalEdge": -30, "CollimatorRightVerticalEdge": 30},
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 70, "ShutterRightVerticalEdge": 20},
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 1, "ShutterRightVerticalEdge": 80},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [5000, 40], "RadiusOfCircularShutter": 20},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [30, 40], "RadiusOfCircularShutter": 0},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [3, 4, 5]},
        {"ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6004},
        {"ShutterShape": "HEXAGONAL"},
    ],
)  # fmt: skip
def test_a_shutter_that_cannot_be_is_left_out(tmp_path: Path, elements: dict[str, Any]) -> None:
    assert read_xray_parts(write_xray(tmp_path / "a.dcm", noise((60, 80), 4096), bits=12, **elements)).mask is None


def test_a_secondary_capture_counts_where_it_says_x_ray_or_nothing(tmp_path: Path) -> None:
    for modality in ("XA", "DX", "OT", ""):
        parts = read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, SC, bits=12, Modality=modality))
        assert parts.missing == ["sdd", "spacing"]
    run = write_xray(tmp_path / "run.dcm", noise((3, 30, 40), 256, dtype=np.uint8), f"{SC}.2")
    assert read_xray_parts(run, frame=2, sid=1000.0).missing == ["spacing"]
    for elements, message in [
        ({"Modality": "CT"}, r"secondary capture of Modality \(0008,0060\) CT"),
        ({"Modality": "US"}, "US and not of an X-ray"),
        ({"ConversionType": "SD"}, "scanned document"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
    ]:
        with pytest.raises(InputError, match=message):
            read_xray_parts(write_xray(tmp_path / "b.dcm", VALUES, SC, bits=12, **elements))


def test_a_secondary_capture_in_colours_is_read_where_it_shows_grey(tmp_path: Path) -> None:
    import pydicom

    grey = noise((30, 40), 256, dtype=np.uint8)
    for name, colours in {"grey": np.stack([grey] * 3, -1), "red": np.stack([grey, grey // 2, grey // 2], -1)}.items():
        path = write_xray(tmp_path / f"{name}.dcm", grey, SC, Modality="RF")
        d = pydicom.dcmread(path)
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "RGB", 0
        d.PixelData = colours.tobytes()
        d.save_as(path)
    assert np.array_equal(read_xray_parts(tmp_path / "grey.dcm").pixels, grey)
    with pytest.raises(InputError, match="colour"):
        read_xray_parts(tmp_path / "red.dcm")


def test_an_rt_image_states_its_distances_and_spacing_in_its_own_words(tmp_path: Path) -> None:
    elements = {
        "RTImageSID": 1500,
        "RadiationMachineSAD": 1000,
        "ImagePlanePixelSpacing": [0.4, 0.3],
        "Modality": "RTIMAGE",
    }
    parts = read_xray_parts(write_xray(tmp_path / "a.dcm", VALUES, RT_IMAGE, bits=12, **elements))
    assert (parts.sdd, parts.sod, parts.spacing, parts.mirrored) == (1500.0, 1000.0, (0.3, 0.4), False)


def test_no_warning_about_a_file_quotes_it(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    circle = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [10, 10], "RadiusOfCircularShutter": "12"}
    path = write_xray(tmp_path / "a.dcm", VALUES, XA, bits=12, **circle)
    content = path.read_bytes().replace(b"Nobody^Known", b"Nobody\xff\xfeKnow").replace(b"LIN ", b"lin!")
    assert content.count(b"IS\x02\x0012") == 1
    path.write_bytes(content.replace(b"IS\x02\x0012", b"IS\x02\x00JD"))
    read_xray_parts(path)
    assert dicom_words(path) is not None
    assert not list(recwarn)
    assert not caplog.records
