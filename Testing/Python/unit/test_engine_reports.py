"""A report that the engine draws and the files that it writes have the structures that were handed over last."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.jobs.engine import Engine
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120.0  # s; far more than anything here takes, so that a test ends
LOW, HIGH = (slice(5, 11), slice(50, 56), slice(56, 64)), (slice(30, 36), slice(24, 32), slice(16, 24))
"""Blocks of voxels (K, J, I)."""
VALUE, COLOR = 4, (1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def engine(phantom, tmp_path_factory) -> Iterator[Engine]:
    file = tmp_path_factory.mktemp("volume") / "volume.npy"
    np.save(file, phantom.array)
    with_volume = {"volume": "patient", "volume_file": str(file), "ijk_to_ras": phantom.ijk_to_ras.tolist()}
    engine = Engine()
    engine.start()
    engine.wait(engine.request("describe_volume", **with_volume, name="phantom"), PATIENCE)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def found(phantom, camera) -> Registration:
    view = NominalView("AP", tuple(phantom.center), 700.0)
    return Registration("x", view.absolute(relative_motion([6.0, -9.0, 4.0], [8.0, -12.0, 5.0])), camera, 0.9, 1.0)


def hand_over_structure(engine, phantom, block, file: Path) -> None:
    """Tell the engine of a segmentation of this block alone, as the panel does."""
    labels = np.zeros(phantom.array.shape, np.uint16)
    labels[block] = VALUE
    np.save(file, labels)
    place = {"labels_file": str(file), "ijk_to_ras": phantom.ijk_to_ras.tolist()}
    engine.wait(engine.request("labels", volume="patient", **place, values=[VALUE], names=["block"]), PATIENCE)


def test_after_another_segmentation_the_pictures_and_files_at_the_same_pose_have_the_new_structures(
    engine, phantom, found, tmp_path
):
    pixels = render(density_grid(phantom), found.pose[None], found.intrinsics)[0].numpy()
    asked = {"volume": "patient", "registration": found.to_dict(), "scale": "attenuation"}
    size, seen = np.array(found.intrinsics.size), []
    for name, block in (("low", LOW), ("high", HIGH), ("low again", LOW)):
        hand_over_structure(engine, phantom, block, tmp_path / "labels.npy")
        structure = [VALUE, name, COLOR]
        drawn = engine.request("draw_report", {"pixels": pixels}, **asked, structures=[structure])
        answer = engine.wait(drawn, PATIENCE)
        folder = tmp_path / name
        folder.mkdir()
        more = {"folder": str(folder), "hidden": [], "dicom": None, "frame": None, "keep_identity": False}
        entry = [*structure, ""]
        written = engine.request("export_xray", {"pixels": pixels}, **asked, **more, structures=[entry])
        assert "x_labels.nii.gz" in engine.wait(written, PATIENCE).fields["files"]

        middle = [(part.start + part.stop - 1) / 2 for part in reversed(block)]
        column_row = project(transform_points(phantom.ijk_to_ras, middle), found.pose, found.intrinsics)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "x_labels.nii.gz")))[0] != 0
        np.testing.assert_allclose(np.argwhere(mask).mean(axis=0)[::-1], column_row, atol=1.5)
        assert name in (folder / "x_labels.json").read_text("utf-8")
        # The overlay is larger, and a pixel of it is square.
        picture = np.asarray(Image.open(io.BytesIO(answer.arrays["overlay"].tobytes())).convert("RGB"), dtype=int)
        outline = np.argwhere((picture[..., 0] > 150) & (picture[..., 2] > 150) & (picture[..., 1] < 100))[:, ::-1]
        shown = (outline.min(axis=0) + outline.max(axis=0)) / 2 / picture.shape[1::-1] * size
        np.testing.assert_allclose(shown, column_row, atol=3.0)
        assert name in json.dumps(answer.fields["legend"])
        seen.append(column_row)
    assert np.abs(seen[0] - seen[1]).max() > 20
