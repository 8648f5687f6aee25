"""CTs from which no X-rays should be learnt, or not those of the part of the body that somebody says: phantoms of each."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy
from XVRegistrationLib.imaging.anatomies import preset_named
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.jobs.train_patient import start_patient
from XVRegistrationLib.registration.model import nominal_view
from XVRegistrationLib.training.body import body_of
from XVRegistrationLib.training.suitability import Suitability, metal_share, suitability

SHAPE = (86, 90, 110)  # voxels along S, A, R
CAMERA = Intrinsics.centered(1020.0, (6.0, 6.0), (65, 65))


def _ellipsoid(radii_mm: tuple[float, float, float], center_mm: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Voxels (K, J, I) of 4 mm in an ellipsoid about the volume's centre, along S, A, R."""
    grid = np.ogrid[tuple(slice(-2 * n + 2, 2 * n + 2, 4) for n in SHAPE)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center_mm, radii_mm, strict=True)) < 1


def _volume(name: str, *parts: tuple[np.ndarray, float], spacing: float = 4.0) -> Volume:
    """Parts in air, drawn one over the other, as a scanner stores them: voxel columns towards the patient's left and back."""
    hu = np.full(SHAPE, -1000, np.int16)
    for where, value in parts:
        hu[where] = value
    return Volume(hu[:, ::-1, ::-1].copy(), np.diag([-spacing, -spacing, spacing, 1.0]), name)


def torso(spacing: float = 4.0) -> Volume:
    """36 cm wide, without lungs, longer than the scan."""
    return _volume(
        "torso", (_ellipsoid((900, 110, 180)), 40), (_ellipsoid((900, 25, 30), (0, -70, 0)), 500), spacing=spacing
    )


def chest() -> Volume:
    lungs = _ellipsoid((120, 80, 60), (0, 0, 90)) | _ellipsoid((120, 80, 60), (0, 0, -90))
    return _volume("chest", (_ellipsoid((900, 110, 180)), 40), (lungs, -800))


def head() -> Volume:
    return _volume(
        "head", (_ellipsoid((125, 95, 80)), 40), (_ellipsoid((115, 87, 72)), 900), (_ellipsoid((107, 79, 64)), 40)
    )


def arm() -> Volume:
    """With a table of foam in a thin shell below, wider than the arm."""
    grid = np.ogrid[tuple(slice(-2 * n + 2, 2 * n + 2, 4) for n in SHAPE)]
    _, a, r = np.broadcast_arrays(*grid)
    table = (np.abs(a + 100) < 30) & (np.abs(r) < 200)
    shell = table & (np.abs(a + 100) > 26)
    return _volume(
        "arm", (table, -950), (shell, -200), (_ellipsoid((900, 45, 40)), 40), (_ellipsoid((900, 12, 12)), 1200)
    )


def _found(volume: Volume, preset: str) -> Suitability:
    p = preset_named(preset)
    return suitability(volume, nominal_view(volume, p.view, p.sod), CAMERA, preset)


@pytest.mark.parametrize(
    ("ct", "fitting", "refused"),
    [
        (chest, ("thorax-ap", "spine-ap"), {"pelvis-ap": "is of a chest and not of a pelvis", "skull-ap": "not of a head"}),
        (torso, ("pelvis-ap", "spine-lateral", "limb-ap"), {"thorax-pa": "shows no lungs", "vessels-pa": "36 cm across and shows no skull"}),
        (head, ("skull-ap", "skull-lateral", "spine-ap"), {"pelvis-pa": "is of a head", "thorax-ap": "is of a head"}),
        (arm, ("limb-ap",), {"thorax-ap": "shows no lungs"}),
    ],
)  # fmt: skip
def test_a_ct_is_refused_for_what_it_cannot_be_of_and_for_nothing_else(ct, fitting, refused):
    volume = ct()
    for preset in fitting:
        found = _found(volume, preset)
        assert not found.refusal
        assert not [s for s in found.doubts if "field of view" not in s]
    for preset, sentence in refused.items():
        assert sentence in _found(volume, preset).refusal
    assert not suitability(volume, nominal_view(volume, "AP"), CAMERA).refusal, "nobody has said what it is of"


def test_what_is_unsure_is_only_said():
    assert (
        _found(arm(), "pelvis-ap").doubts[0] == "arm is 8 cm across, so it is not of a pelvis, unless it is a child's."
    )
    assert not _found(arm(), "pelvis-ap").refusal
    assert "hardly of a limb" in _found(chest(), "limb-ap").doubts[0]
    assert "angiogram" in _found(head(), "vessels-pa").doubts[-1]
    bones = torso().array.copy()
    bones[bones == 40] = -1000
    assert _found(Volume(bones, torso().ijk_to_ras, "bones"), "thorax-ap") == Suitability(), (
        "bones alone are not judged"
    )
    vessels = Volume(np.abs(bones / 1000.0), torso().ijk_to_ras, "vessels", units="1/mm")
    assert _found(vessels, "thorax-ap") == Suitability()


@pytest.mark.parametrize("turned", [False, True])
def test_where_the_body_is_cut_off_in_the_field_of_view_is_said(turned):
    whole = torso()
    matrix = whole.ijk_to_ras
    if turned:  # stored as slices from front to back, of a patient who lies obliquely
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_from_euler_zxy([4.0, 3.0, -3.0])
        matrix = matrix @ whole.ijk_to_ras[:, [0, 2, 1, 3]]

    def said(array: np.ndarray) -> str:
        stored = array.transpose(1, 0, 2) if turned else array
        return " ".join(_found(Volume(stored, matrix, "cut"), "pelvis-ap").sentences)

    assert said(whole.array[:, :, 10:]) == "", "its ends are farther than the field of view"
    assert "(back)" in said(whole.array[:, :60])
    assert "(left)" in said(whole.array[:, :, :60])
    assert "(feet, head)" in said(whole.array[28:58])


def test_a_body_that_a_round_field_of_view_cuts_off_is_told_from_one_that_it_touches():
    y, x = np.ogrid[:90, :90]
    outside = np.hypot(y - 44.5, x - 44.5) > 45
    wide, touching = torso().array[:, :, 10:100].copy(), torso().array[:, :, 10:100].copy()
    wide[:, 40 - 25 : 40 + 35] = 40
    for array in (wide, touching):
        array[:, outside] = -1000
    assert "around" in body_of(Volume(wide, torso().ijk_to_ras, "wide")).cut
    assert "around" not in body_of(Volume(touching, torso().ijk_to_ras, "touching")).cut


def test_a_ct_full_of_metal_is_refused_and_one_with_a_screw_is_not(phantom):
    metal = phantom.array.copy()
    metal[20:22, 30:32, 30:38] = 3071
    assert not suitability(Volume(metal, phantom.ijk_to_ras, "screw"), nominal_view(phantom, "AP"), CAMERA).refusal
    metal[15:35, 25:50, 25:50] = 3071
    spoilt = Volume(metal, phantom.ijk_to_ras, "metal")
    assert metal_share(spoilt) > 0.05
    assert "metal is full of metal" in suitability(spoilt, nominal_view(phantom, "AP"), CAMERA).refusal


def test_training_refuses_and_writes_nothing_unless_forced(tmp_path, capsys):
    heard: list[str] = []
    with pytest.raises(InputError, match="torso shows no lungs"):
        start_patient(tmp_path / "a", torso(), CAMERA, anatomy="thorax-ap", on_doubt=heard.append)
    write_volume(tmp_path / "ct.nrrd", torso())
    command = [
        "train",
        str(tmp_path / "ct.nrrd"),
        "-o",
        str(tmp_path / "model"),
        "--anatomy",
        "thorax-ap",
        "--minutes",
        "0",
    ]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "ct shows no lungs" in said
    assert "--force" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nrrd"]
    assert not heard
    assert main([*command, "--force", "--size", "64", "64", "--spacing", "6", "6"]) == 0
    assert "shows no lungs" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.json").exists()
