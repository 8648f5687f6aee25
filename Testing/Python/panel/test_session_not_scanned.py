"""A value for what was not scanned: said in a session, kept with the volume, and never mixed with a model without it."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.panel.patients import angiogram, patient
from Testing.Python.panel.sessions import TIMEOUT, chosen
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume
from XVRegistrationLib.jobs.handed_volume import handed_volume
from XVRegistrationLib.registration.card import read_card, reading_of

FILL = 250
"""What the reconstruction has written outside of its cylinder: like soft tissue."""


def filled(volume):
    """The volume as a cone-beam CT has it, without anything outside of a cylinder."""
    _z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in volume.array.shape)]
    array = np.where(x**2 + y**2 < 0.9, volume.array, FILL).astype(np.int16)
    return Volume(array, volume.ijk_to_ras, volume.name)


def with_air(volume):
    array = volume.array.copy()
    array[array == FILL] = -1000
    return Volume(array, volume.ijk_to_ras, volume.name)


def test_what_was_not_scanned_is_air_and_another_model_is_made(session, tmp_path):
    volume = filled(patient())
    node = chosen(session, volume)
    first = session.model_view().folder
    assert session.patient_view().ok
    session.parameters.useNotScanned, session.parameters.notScanned = True, float(FILL)
    session.wait(TIMEOUT)
    second = session.model_view().folder
    assert second != first
    share = np.mean(volume.array == FILL)
    assert f"{share:.1%} of its voxels have 250 and are air." in session.patient_view().check
    card = read_card(second)
    assert card["volume"]["fingerprint"] == with_air(volume).fingerprint
    write_volume(tmp_path / "ct.nrrd", volume)
    assert read_volume(tmp_path / "ct.nrrd", reading_of(card)).fingerprint == card["volume"]["fingerprint"]

    chosen(session, patient())
    assert not session.parameters.useNotScanned  # that was said of the other volume
    session.parameters.volume = node
    session.wait(TIMEOUT)
    assert (session.parameters.useNotScanned, session.parameters.notScanned) == (True, FILL)
    assert session.model_view().folder == second
    session.parameters.notScanned = -77.0
    session.wait(TIMEOUT)
    assert "None of its voxels has -77." in session.patient_view().check
    session.parameters.useNotScanned = False
    session.wait(TIMEOUT)
    assert session.model_view().folder == first


def handed(tmp_path, volume, **fields):
    np.save(tmp_path / "voxels.npy", volume.array)
    place = {"volume_file": str(tmp_path / "voxels.npy"), "ijk_to_ras": volume.ijk_to_ras.tolist(), "name": "a"}
    return handed_volume({**place, "meant_file": str(tmp_path / "meant.npy"), "background": FILL, **fields})


def test_the_window_of_vessels_is_proposed_without_what_was_not_scanned(tmp_path):
    plain = angiogram()
    bright = Volume(np.where(filled(plain).array == FILL, 4000, plain.array), plain.ijk_to_ras, "bright")
    found = handed(tmp_path, bright, values="vessels", background=4000.0)
    assert 200 < found.window[0] < 900 < found.window[1] < 1650
    outside = bright.array == 4000
    assert not np.asarray(found.volume.array)[outside].any()
    assert found.volume.reading.background == 4000.0


@pytest.mark.parametrize(("values", "air"), [("ct", -1000), ("hu", -1000), ("attenuation", 0)])
def test_air_is_air_in_the_units_of_the_volume(tmp_path, values, air):
    volume = filled(patient())
    if values == "attenuation":
        volume = Volume((volume.array / np.float32(50_000)), volume.ijk_to_ras, "mu")
        found = handed(tmp_path, volume, values=values, background=float(volume.array.flat[0]))
    else:
        found = handed(tmp_path, volume, values=values)
    outside = volume.array == volume.array.flat[0]
    assert outside.mean() > 0.1
    assert np.unique(np.asarray(found.volume.array)[outside]).tolist() == [air]
    kept = np.load(tmp_path / "voxels.npy")
    assert np.array_equal(kept, volume.array)
