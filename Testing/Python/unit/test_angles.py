"""The C-arm's angles: where they put the source, and what is left and right in the image."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.pictures import side_markers
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.geometry.views import NominalView

CENTER = np.array([10.0, -20.0, 300.0])
CAMERA = Intrinsics.centered(1000.0, (1.0, 1.0), (401, 401), mirrored=True)


@pytest.mark.parametrize("angles", [(0, 0), (30, 0), (-95, 20), (10, -40), (180, 0), (0, 90)])
def test_the_isocentre_is_on_the_axis_at_the_distance_given(angles):
    pose = check_rigid(pose_from_angles(*angles, 700.0, CENTER))
    assert np.allclose(pose[:3, 3] + 700.0 * pose[:3, 2], CENTER)
    assert np.allclose(project(CENTER, pose, CAMERA), (200, 200))


def test_at_zero_the_source_is_behind_the_patient_and_the_image_is_the_pa_view():
    assert np.allclose(pose_from_angles(0, 0, 700.0, CENTER), NominalView("PA", tuple(CENTER), 700.0).pose)
    assert side_markers(pose_from_angles(0, 0, 700.0, CENTER), CAMERA) == {
        "left": "R", "right": "L", "top": "H", "bottom": "F",
    }  # fmt: skip


def test_lao_puts_the_detector_at_the_left_and_cra_at_the_head():
    for angles, axis, sign in [((60, 0), 0, -1), ((-60, 0), 0, 1), ((0, 30), 2, 1), ((0, -30), 2, -1)]:
        pose = pose_from_angles(*angles, 700.0, CENTER)
        detector = pose[:3, 3] + 1000.0 * pose[:3, 2]
        assert np.sign((detector - CENTER)[axis]) == sign
        assert (detector - CENTER)[1] > 0  # still in front
    left_lateral = pose_from_angles(90, 0, 700.0, CENTER)
    assert np.allclose(left_lateral[:3, 2], NominalView("LLAT", tuple(CENTER), 700.0).axes[:, 2])


def test_what_is_in_front_moves_against_what_is_behind_as_the_arm_turns():
    """In LAO the anterior structure appears towards the patient's right (image left), in CRA towards the feet (down)."""
    anterior = CENTER + np.array([0.0, 50.0, 0.0])
    for angles, axis, sign in [((30, 0), 0, -1), ((-30, 0), 0, 1), ((0, 30), 1, 1), ((0, -30), 1, -1)]:
        pixel = project(anterior, pose_from_angles(*angles, 700.0, CENTER), CAMERA)
        assert np.sign(pixel[axis] - 200) == sign


def test_rows_run_towards_the_feet():
    for primary in (-120, -30, 0, 45, 90, 150):
        for secondary in (-50, 0, 50):
            assert pose_from_angles(primary, secondary, 700.0, CENTER)[2, 1] < 0


@pytest.mark.parametrize("values", [(float("nan"), 0, 700), (0, float("inf"), 700), (0, 0, 0), (0, 0, -5)])
def test_angles_and_distances_that_are_none_are_refused(values):
    with pytest.raises(InputError, match="C-arm's angles"):
        pose_from_angles(*values, CENTER)
