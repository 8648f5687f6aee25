"""A protocol's volume is what its user says: vessels by a window, densities by a segmentation, as in a training."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("nanodrr")

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.measures import read_rows
from XVRegistrationLib.evaluation.patients import load_patient, structure_points
from XVRegistrationLib.evaluation.protocol import Points, with_volume
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import protocol_xrays, xrays_fingerprint
from XVRegistrationLib.evaluation.vessels import simulate_vessels
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.volume import LabelMap, Volume, write_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import IODINE
from XVRegistrationLib.rendering.spectrum import Tube

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = (400.0, 2200.0)


@pytest.fixture(scope="module")
def angiogram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vessel tree in the values of a workstation."""
    tree = simulate_vessels(2, voxel=1.0)
    values = 300 + tree.array / IODINE * 2000
    path = tmp_path_factory.mktemp("angiogram") / "dsa.nrrd"
    write_volume(path, dataclasses.replace(tree, array=values.astype(np.int16), units="HU"))
    return path


def test_vessels_are_measured_where_they_are_and_x_rayed_subtracted(angiogram: Path, tmp_path: Path) -> None:
    protocol = with_volume(read_protocol(find_protocol("vessels")), angiogram, Reading(vessels=WINDOW))
    patient = load_patient(protocol, tmp_path)
    assert patient.volume.units == "1/mm"
    assert patient.volume.array.max() == pytest.approx(IODINE)
    ijk = np.rint(transform_points(np.linalg.inv(patient.volume.ijk_to_ras), patient.points)).astype(int)
    assert (patient.volume.array[ijk[:, 2], ijk[:, 1], ijk[:, 0]] > IODINE / 2).all()
    small = dataclasses.replace(protocol.intrinsics, size=(64, 64), spacing=(6.75, 6.75), principal_point=(31.5, 31.5))
    one = dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=1), intrinsics=small)
    [image] = protocol_xrays(one, patient.volume, tmp_path)
    assert image.xray.scale == "attenuation"
    # Another window is another volume, with X-rays of its own.
    other = dataclasses.replace(one, volume=dataclasses.replace(one.volume, reading=Reading(vessels=(400, 3000))))
    assert xrays_fingerprint(one, patient.volume) != xrays_fingerprint(other, load_patient(other, tmp_path).volume)


def test_the_command_takes_the_same_options_as_a_training(
    angiogram: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        "vessels",
        "--volume",
        str(angiogram),
        "--count",
        "1",
        "-o",
        str(tmp_path),
        "--as",
        "vessels",
    ]
    assert main([*command, "3000", "400"]) == 2
    assert "must rise from background to full contrast" in capsys.readouterr().err
    assert main([*command, *map(str, WINDOW)]) == 0
    [row] = read_rows(tmp_path / "vessels" / "results.csv")
    assert row.mtre_mm < 1.0
    protocol = json.loads((tmp_path / "vessels" / "summary.json").read_text())["protocol"]
    assert protocol["volume"]["reading"]["vessels"] == list(WINDOW)


def test_a_file_says_what_its_volume_is(angiogram: Path, tmp_path: Path) -> None:
    text = find_protocol("vessels").read_text("utf-8")
    (tmp_path / "table.json").write_text(json.dumps({"*": 300}))
    (tmp_path / "names.csv").write_text("id,structure\n1,bone\n7,muscle\n")
    for said, reading in (
        ('as = "vessels"\nwindow = [400, 2200]', Reading(vessels=WINDOW)),
        ('as = "hu"\nnot_scanned = -5', Reading(believed=True, background=-5)),
        ('as = "attenuation"\nseries = "3"', Reading("1/mm", series="3")),
        (
            'segmentation = "s.nrrd"\nsegmentation_names = "names.csv"\ndensities = "table.json"',
            Reading(
                segmentation=str(tmp_path / "s.nrrd"),
                label_names=((1, "bone"), (7, "muscle")),
                densities=(("*", 300.0),),
            ),
        ),
    ):
        file = tmp_path / "p.toml"
        file.write_text(text.replace('source = "vessels"', f'source = "dsa.nrrd"\n{said}'))
        assert read_protocol(file).volume.reading == reading


def test_structures_that_are_not_there_are_answered_with_those_that_are(phantom: Volume) -> None:
    array = np.zeros(phantom.array.shape, np.int16)
    array[2, 3, 4], array[5, 6, 7] = 1, 2
    labels = LabelMap(array, phantom.ijk_to_ras, {1: "femur_left", 2: "femur_right"})
    with pytest.raises(InputError, match=r"no structure like tibia.*; it has femur_left, femur_right"):
        structure_points(phantom, labels, Points(labels=("tibia*",)))
    assert len(structure_points(phantom, labels, Points(labels=("femur*",)))) == 2


def test_a_protocol_may_name_the_tube_of_its_x_rays(phantom: Volume, angiogram: Path, tmp_path: Path) -> None:
    text = find_protocol("strong-scatter").read_text().replace("count = 200", "count = 1")
    text = text.replace("size = [256, 256]", "size = [64, 64]").replace("[1.6875, 1.6875]", "[6.75, 6.75]")
    found = []
    for name, line in (("plain", ""), ("tube", "spectrum = { kvp = 60, copper_mm = 0.1 }\n")):
        (tmp_path / f"{name}.toml").write_text(line + text)
        protocol = read_protocol(tmp_path / f"{name}.toml")
        found.append(protocol_xrays(protocol, phantom, tmp_path)[0])
    assert protocol.spectrum == Tube(60, copper_mm=0.1)
    assert np.array_equal(found[0].true_pose, found[1].true_pose)
    assert not np.array_equal(found[0].xray.pixels, found[1].xray.pixels)
    vessels = with_volume(protocol, angiogram, Reading(vessels=WINDOW))
    patient = load_patient(vessels, tmp_path)
    with pytest.raises(InputError, match="is no CT in Hounsfield units, and X-rays of a tube voltage need one"):
        protocol_xrays(vessels, patient.volume, tmp_path)
