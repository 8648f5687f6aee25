"""A folder as it comes from an angiography room: images, runs, subtracted ones, damaged ones; nothing of it is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer.util
from pydicom.dataset import Dataset

from Testing.Python.dicom_files import grey, write
from Testing.Python.panel.patients import CAMERA, angiogram, bones, line_integrals, mr, patient, pose_of, write_xray
from Testing.Python.panel.sessions import TIMEOUT, choose, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.volumes.vessels import vessel_attenuation
from XVRegistrationLib.panel.batch import register_folder
from XVRegistrationLib.registration.card import CARD, read_card
from XVRegistrationLib.registration.result_files import no_result, stem_of_result, write_no_result
from XVRegistrationLib.scene.results import read_registration, write_registration
from XVRegistrationLib.scene.runs import run_of
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import all_xrays_in, pose_from_node

NO_ANGLES = {"PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
BLANK = np.full((70, 78), 777, np.uint16)
"""An image of nothing at all, which has no pose."""


def exposure(number):
    return grey(line_integrals(patient(), number))


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def right(found, number):
    return np.abs(np.array(found["pose"]) - pose_of(number)).max() < 1.0


@pytest.fixture
def batch(scene, root, tmp_path):
    """Register a folder of this name."""
    volume = add_volume(scene, patient())

    def run(folder, **options):
        return register_folder(volume, tmp_path / folder, tmp_path / "out", root=root, timeout=TIMEOUT, **options)

    return run


def test_every_frame_of_every_file_has_a_file_that_tells_what_came_of_it(batch, scene, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(folder / "a.dcm", exposure(0), **NO_ANGLES)
    write(folder / "run.dcm", np.stack([exposure(1), BLANK, exposure(0)]), **NO_ANGLES)
    write(folder / "run-0001.dcm", exposure(0), **NO_ANGLES)
    (folder / "damaged.dcm").write_bytes(b"\0" * 200)
    write_xray(folder / "a.nii.gz", patient(), 1)
    (folder / "DICOMDIR").write_bytes(b"")
    outcomes = batch("in")
    frames = ["run.dcm, frame 0", "run.dcm, frame 1", "run.dcm, frame 2"]
    assert list(outcomes) == ["a.dcm", "a.nii.gz", "damaged.dcm", "run-0001.dcm", *frames]
    names = {path.name for path in out.iterdir()}
    runs = {f"run-000{i}.json" for i in range(3)}
    assert names == {"a.json", "a 2.json", "damaged.dcm.json", "run-0001 2.json", *runs}
    assert right(read(out, "a"), 0)
    assert right(read(out, "run-0000"), 1)
    assert right(read(out, "run-0002"), 0)
    assert right(read(out, "run-0001"), 0)
    for frame, name in enumerate(("run-0000", "run-0001 2", "run-0002")):
        found = read(out, name)
        assert (found["xray"], found["frame"], found["outcome"]) == ("run.dcm", frame, outcomes[frames[frame]])
    for name, reason in (("run-0001 2", ""), ("damaged.dcm", "damaged.dcm"), ("a 2", "distance source-detector")):
        found = read(out, name)
        assert (found["pose"], found["verdict"], found["ok"]) == (None, "failed", False), name
        assert found["reason"]
        assert reason in found["reason"]
    assert [run_of(node) is not None for node in all_xrays_in(scene)] == [False, False, False, True]


def test_one_frame_or_what_is_made_of_all_may_be_chosen_and_masks_subtracted(batch, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    how = Dataset()
    how.MaskOperation, how.MaskFrameNumbers, how.ApplicableFrameRange = "AVG_SUB", 1, [2, 3]
    empty = np.full_like(exposure(0), 60000)
    frames = np.stack([empty, exposure(0), exposure(1)])
    write(folder / "run.dcm", frames, MaskSubtractionSequence=[how], **NO_ANGLES)
    outcomes = batch("in", subtract=True)
    assert list(outcomes) == ["run.dcm, frame 1", "run.dcm, frame 2"]
    for frame in (1, 2):
        assert right(read(out, f"run-000{frame}"), frame - 1)
    write(folder / "run.dcm", np.stack([empty, exposure(0), exposure(0)]), **NO_ANGLES)
    assert list(batch("in", frame="min", subtract=(0,))) == ["run.dcm"]
    assert right(read(out, "run-min"), 0)
    assert "has no frame 9" in batch("in", frame=9)["run.dcm"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        batch("empty")


def test_a_value_of_what_was_not_scanned_is_air(scene, root, tmp_path):
    volume, folder = patient(), tmp_path / "in"
    folder.mkdir()
    write_xray(folder / "x.nii.gz", volume, 0)
    filled = np.where(volume.array <= -1000, 250, volume.array).astype(np.int16)
    node = add_volume(scene, Volume(filled, volume.ijk_to_ras, "filled"))
    given = {"root": root, "timeout": TIMEOUT, "sdd": CAMERA.sdd, "not_scanned": 250.0}
    outcomes = register_folder(node, folder, tmp_path / "out", **given)
    assert right(read(tmp_path / "out", "x"), 0), outcomes
    [card] = [read_card(path.parent) for path in root.rglob(CARD)]
    assert card["volume"]["fingerprint"] == volume.fingerprint


@pytest.mark.parametrize("values", ["vessels", "structures"])
def test_the_volume_may_be_vessels_or_have_the_densities_of_its_structures(scene, root, tmp_path, values):
    folder, out, window = tmp_path / "in", tmp_path / "out", (300.0, 1500.0)
    folder.mkdir()
    volume = add_volume(scene, angiogram() if values == "vessels" else mr())
    given = {"root": root, "timeout": TIMEOUT, "sdd": CAMERA.sdd}
    if values == "vessels":
        shown = vessel_attenuation(angiogram().array, window)
        write_xray(folder / "x.nii.gz", Volume(shown, angiogram().ijk_to_ras, units="1/mm"), 0)
        how = {"vessels": window}
    else:
        labels = bones()
        shown = np.where(labels.array > 0, 900, -1000).astype(np.int16)
        write_xray(folder / "x.nii.gz", Volume(shown, labels.ijk_to_ras), 0)
        how = {"segmentation_node": add_segmentation(scene, labels, volume), "densities": {"bone*": 900}}
    with pytest.raises(InputError, match="Say in the section Patient what its values are"):
        register_folder(volume, folder, out, **given)
    outcomes = register_folder(volume, folder, out, volume_values=values, **how, **given)
    assert right(read(out, "x"), 0), outcomes
    # It was said of the volume, which remembers it.
    assert register_folder(volume, folder, out, **given).keys() == outcomes.keys()
    with pytest.raises(InputError, match="one of ct, hu, vessels"):
        register_folder(volume, folder, out, volume_values="mri", **given)
    with pytest.raises(InputError, match='for volume_values="structures"'):
        register_folder(volume, folder, out, volume_values="vessels", densities={"bone*": 900}, **given)
    with pytest.raises(InputError, match='for volume_values="vessels"'):
        register_folder(volume, folder, out, vessels=window, **given)


def test_a_try_that_failed_does_not_replace_a_better_result(tmp_path):
    good = {"name": "x", "pose": np.eye(4).tolist(), "trust": {"verdict": "check"}}
    assert stem_of_result(tmp_path, "x", "failed") == "x"
    (tmp_path / "x.json").write_text(json.dumps(good))
    assert write_no_result(tmp_path, "x", "It shows nothing.").name == "x.failed.json"
    assert read(tmp_path, "x") == good
    assert read(tmp_path, "x.failed") == no_result("x", "It shows nothing.")
    assert stem_of_result(tmp_path, "x", "converged") == "x"
    assert not (tmp_path / "x.failed.json").exists()
    for other in (
        '{"pose": null, "trust": null}',
        "[]",
        "no JSON",
        json.dumps(good | {"trust": {"verdict": "failed"}}),
    ):
        (tmp_path / "x.json").write_text(other)
        assert write_no_result(tmp_path, "x", "Again nothing.").name == "x.json"


@pytest.mark.parametrize(("verdict", "kept"), [("converged", True), ("check", True), ("failed", False)])
def test_in_the_scene_a_try_that_failed_leaves_a_better_result_where_it_is(session, tmp_path, verdict, kept):
    choose(session)
    session.add_files([write(tmp_path / "a.dcm", exposure(0), **NO_ANGLES)])
    session.wait(TIMEOUT)
    [row] = session.rows()
    session.register()
    session.wait(TIMEOUT)
    found = read_registration(row.node)
    found["trust"]["verdict"] = verdict
    write_registration(row.node, found)
    pose = pose_from_node(row.node)
    # Nothing fits to what is left of the image.
    slicer.util.arrayFromVolume(row.node)[0] = np.random.default_rng(0).permutation(exposure(0).ravel()).reshape(70, 78)
    session.register([row.node])
    session.wait(TIMEOUT)
    now = row_of(session, row.node)
    assert now.look == "failed"
    assert np.allclose(pose_from_node(row.node), pose) == kept
    assert (read_registration(row.node) == found) == kept
    assert ("the earlier result is better and was kept" in now.outcome) == kept
