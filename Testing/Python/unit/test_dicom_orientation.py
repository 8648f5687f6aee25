"""From where a DICOM X-ray was taken and how it is shown: angles, mirroring and turns, by the standard and an asymmetric thing."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes
from scipy.spatial.transform import Rotation

from Testing.Python.unit.dicom_files import header, item
from XVRegistrationLib.geometry.angles import angles_of, header_pose, pose_from_angles, shown_axes
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.dicom.geometry import read_geometry
from XVRegistrationLib.imaging.dicom.isocenter import table_axes

DX = "1.2.840.10008.5.1.4.1.1.1.1"
SIDE = 512


def read(**elements):
    return read_geometry(header(**elements))


LEFT_HAND = np.array([-60.0, 30.0, 40.0])
"""An asymmetric thing: on the patient's left, in front, towards the head of the isocentre; RAS, mm."""
MARKS = np.array([LEFT_HAND, [0, 0, 0], [25.0, -10.0, -70.0], [10.0, 50.0, 5.0]])
SHOWN = {
    (True, 0): ("L", "F"), (True, 90): ("H", "L"), (True, 180): ("R", "H"), (True, 270): ("F", "R"),
    (False, 0): ("R", "F"), (False, 90): ("H", "R"), (False, 180): ("L", "H"), (False, 270): ("F", "L"),
}  # fmt: skip
"""How an image with the source behind the patient may be shown, and what then lies along its rows and columns."""


def shown(pixels, mirrored, turn, side=SIDE):
    """Pixels (N, 2) of an upright mirrored image where they are once it was flipped (if not mirrored), then turned."""
    column, row = pixels.T
    column = column if mirrored else side - 1 - column
    for _ in range(turn // 90):  # as np.rot90(image, -1)
        column, row = side - 1 - row, column
    return np.stack([column, row], axis=-1)


@pytest.mark.parametrize(("mirrored", "turn"), SHOWN)
@pytest.mark.parametrize("angles", [(0.0, 0.0), (31.3, 0.1), (-26.5, -32.7), (-20.0, 25.0)])
def test_the_pose_projects_onto_the_image_however_it_is_shown(mirrored, turn, angles):
    upright = Intrinsics.centered(1000.0, (0.5, 0.5), (SIDE, SIDE), mirrored=True)
    truth = project(MARKS, pose_from_angles(*angles, 700.0, np.zeros(3)), upright)
    dataset = header(
        PositionerPrimaryAngle=angles[0], PositionerSecondaryAngle=angles[1], PatientOrientation=list(SHOWN[mirrored, turn])
    )  # fmt: skip
    found = read_geometry(dataset).values
    assert (found["mirrored"], found["rotation"]) == (mirrored, turn)
    pose = check_rigid(header_pose(found, np.zeros(3), 700.0))
    camera = Intrinsics.centered(1000.0, (0.5, 0.5), (SIDE, SIDE), found["mirrored"])
    np.testing.assert_allclose(project(MARKS, pose, camera), shown(truth, mirrored, turn), atol=1e-6)


def test_left_is_where_the_standard_puts_it():
    """PS3.3 C.8.7.5.1.2: at zero the patient faces the detector; +90 is at the left (LAO), +90 secondary at the head."""
    for primary, secondary, towards in [
        (0, 0, (0, 1, 0)),
        (90, 0, (-1, 0, 0)),
        (-90, 0, (1, 0, 0)),
        (0, 90, (0, 0, 1)),
    ]:
        pose = header_pose({"primary_angle": primary, "secondary_angle": secondary}, np.zeros(3), 700.0)
        np.testing.assert_allclose(pose[:3, 2], towards, atol=1e-12)
    found = read_geometry(header(PositionerPrimaryAngle=0, PositionerSecondaryAngle=0)).values
    camera = Intrinsics.centered(1000.0, (0.5, 0.5), (SIDE, SIDE), found["mirrored"])
    column, row = project(LEFT_HAND, header_pose(found, np.zeros(3), 700.0), camera)
    assert column > SIDE / 2  # facing the patient, his left is at the right
    assert row < SIDE / 2


def test_an_asymmetric_phantom_is_rendered_as_the_stored_image_however_that_is_shown():
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.rendering.grid import density_grid
    from XVRegistrationLib.rendering.render import render

    hu = np.full((40, 40, 40), -1000, np.int16)  # voxels of 4 mm, indices towards R, A, S
    hu[26:32, 24:30, 4:12] = 800  # on the left, in front, towards the head
    hu[6:9, 18:21, 22:32] = 800  # on the right, towards the feet
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    matrix[:3, 3] = -78.0
    grid = density_grid(Volume(hu, matrix, "asymmetric"))

    def picture(dataset):
        known = read_geometry(dataset).values
        camera = Intrinsics.centered(1000.0, (3.0, 3.0), (96, 96), known["mirrored"])
        return render(grid, header_pose(known, np.zeros(3), 700.0)[None], camera, 2.0)[0].numpy()

    stated = {"PositionerPrimaryAngle": 12, "PositionerSecondaryAngle": -8, "Rows": 96, "Columns": 96}
    stored = picture(header(**stated))
    column, row = (stored * np.indices(stored.shape)[::-1]).sum(axis=(1, 2)) / stored.sum()
    assert (column > 48, row < 48) == (True, True)  # most of it: his left is at the right, his head on top
    for (mirrored, turn), letters in SHOWN.items():
        image = np.rot90(stored if mirrored else stored[:, ::-1], -turn // 90)
        np.testing.assert_allclose(picture(header(**stated, PatientOrientation=list(letters))), image, atol=1e-3)


def test_an_orientation_that_does_not_go_with_the_angles_is_said():
    found = read(PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, PatientOrientation=["P", "F"])
    assert (found.values["mirrored"], found.origins["mirrored"]) == (True, "assumed")
    assert "PatientOrientation" in found.notes[0]
    user = read_geometry(
        header(PositionerPrimaryAngle=0, PositionerSecondaryAngle=0, PatientOrientation=["R", "F"]), mirrored=True
    )
    assert (user.values["mirrored"], user.origins["mirrored"]) == (True, "user")
    assert "mirroring that was given" in user.notes[0]


def test_angles_of_a_direction_are_the_inverse_of_the_pose():
    for angles in [(0, 0), (31, -12), (-150, 40), (95, 3)]:
        np.testing.assert_allclose(angles_of(pose_from_angles(*angles, 1.0, np.zeros(3))[:3, 2]), angles, atol=1e-9)
    np.testing.assert_allclose(shown_axes(0, 0, True, 0), [[-1, 0, 0], [0, 0, -1]], atol=1e-12)


@pytest.mark.parametrize(
    ("position", "angles"),
    [("HFS", (30, 10)), ("HFP", (-150, 10)), ("FFS", (-30, -10)), ("FFP", (150, -10)), ("HFDR", (120, 10)), ("FFDL", (-120 + 180, -10))],
)  # fmt: skip
def test_angles_about_the_machine_are_turned_by_how_the_patient_lies(position, angles):
    found = read(PositionerIsocenterPrimaryAngle=30.0, PositionerIsocenterSecondaryAngle=10.0, PatientPosition=position)
    got = (found.values["primary_angle"], found.values["secondary_angle"])
    if position in (
        "HFDR",
        "FFDL",
    ):  # by the table of PS3.17 FFF.1.2.2.2: left, posterior and head along the table's axes
        axes = {"HFDR": [(0, -1, 0), (1, 0, 0), (0, 0, 1)], "FFDL": [(0, 1, 0), (1, 0, 0), (0, 0, -1)]}[position]
        a, b = np.radians([30, 10])
        left, back, head = np.array(axes) @ [np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)]
        angles = (np.degrees(np.arctan2(left, -back)), np.degrees(np.arcsin(head)))
    np.testing.assert_allclose(got, angles, atol=1e-9)
    # Which way a secondary angle goes is not certain by the standard's words; a primary one alone is.
    assert found.origins["primary_angle"] == found.origins["secondary_angle"] == "assumed"
    assert "please check" in found.notes[0]
    alone = read(PositionerIsocenterPrimaryAngle=30.0, PositionerIsocenterSecondaryAngle=0.0, PatientPosition=position)
    assert alone.origins["primary_angle"] == "derived"
    assert "please check" not in alone.notes[0]


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 12, 0), (0, 0, -9), (-150, 20, 35), (75, -40, -14)])
def test_the_table_is_turned_as_the_standard_says(angles):
    """PS3.3 C.8.19.6.13.1.3: z from z to x in the horizontal plane, its head upwards (-y), its left upwards."""
    axes = table_axes(*angles)
    turned = Rotation.from_euler("YXZ", [angles[0], angles[1], -angles[2]], degrees=True)
    np.testing.assert_allclose(axes, turned.as_matrix().T, atol=1e-12)
    assert np.degrees(np.arcsin(-axes[2, 1])) == pytest.approx(angles[1])
    assert np.degrees(np.arctan2(axes[2, 0], axes[2, 2])) == pytest.approx(angles[0])
    level = np.cross([0, 1, 0], axes[2])  # horizontal, and in the plane of x and y
    level /= np.linalg.norm(level)
    assert np.degrees(np.arcsin(-axes[0] @ np.cross(axes[2], level))) == pytest.approx(angles[2])


def test_a_turned_or_tilted_table_takes_the_patient_with_it():
    about = {"PositionerIsocenterPrimaryAngle": 0.0, "PositionerIsocenterSecondaryAngle": 0.0, "PatientPosition": "HFS"}
    for table, angles in [
        ({"TableHeadTiltAngle": 10.0}, (0, 10)),  # head upwards, towards the detector above
        ({"TableCradleTiltAngle": 25.0}, (25, 0)),  # left upwards
        ({"TableHorizontalRotationAngle": 40.0}, (0, 0)),
    ]:
        found = read(**about, **table)
        got = (found.values["primary_angle"], found.values["secondary_angle"])
        np.testing.assert_allclose(got, angles, atol=1e-9)
        assert "turned or tilted table" in found.notes[0]
    lateral = {**about, "PositionerIsocenterPrimaryAngle": 90.0, "TableHorizontalRotationAngle": 90.0}
    # The table's head points to where the detector is.
    assert read(**lateral).values["secondary_angle"] == pytest.approx(90)


def test_a_machine_that_does_not_know_the_table_and_a_rotated_detector_are_said():
    about = {"PositionerIsocenterPrimaryAngle": 5.0, "PositionerIsocenterSecondaryAngle": 0.0, "PatientPosition": "HFS"}
    mobile = read(**about, CArmPositionerTabletopRelationship="NO")
    assert mobile.values["primary_angle"] is None
    assert "does not know the table" in mobile.notes[0]
    assert read(**about, CArmPositionerTabletopRelationship="YES").values["primary_angle"] == pytest.approx(5)
    rotated = read(**about, PositionerIsocenterDetectorRotationAngle=-30.0)
    assert "-30 degrees about the beam, is not used" in rotated.notes[-1]
    assert not any("beam" in note for note in read(**about, PositionerIsocenterDetectorRotationAngle=0.0).notes)


def test_angles_of_another_machine_are_not_used():
    breast = read(PositionerType="MAMMOGRAPHIC", PositionerPrimaryAngle=45, PositionerSecondaryAngle=0)
    assert breast.values["primary_angle"] is None
    assert "not those of a C-arm" in breast.notes[0]


def test_another_position_than_head_first_supine_leaves_the_angles_about_the_patient_and_says_so():
    found = read(PositionerPrimaryAngle=10, PositionerSecondaryAngle=0, PatientPosition="FFP")
    assert found.values["primary_angle"] == 10
    assert "FFP" in found.notes[0]
    assert read(PositionerPrimaryAngle=10, PositionerSecondaryAngle=0, PatientPosition="HFS").notes == ()


@pytest.mark.parametrize(
    ("view", "letters", "mirrored"),
    [("AP", "LF", False), ("PA", "LF", True), ("LL", "PF", False), ("LL", "AF", False), ("RL", "AF", False)],
)
def test_the_view_of_a_radiograph_is_a_direction(view, letters, mirrored):
    found = read(SOPClassUID=DX, ViewPosition=view)
    pose = header_pose(found.values, np.zeros(3), 1000.0)
    towards = {"AP": (0, -1, 0), "PA": (0, 1, 0), "LL": (-1, 0, 0), "RL": (1, 0, 0)}[view]
    np.testing.assert_allclose(pose[:3, 2], towards, atol=1e-12)
    assert found.values["mirrored"] is mirrored
    with_letters = read(SOPClassUID=DX, ViewPosition=view, PatientOrientation=list(letters))
    rows = shown_axes(
        with_letters.values["primary_angle"], 0, with_letters.values["mirrored"], with_letters.values["rotation"]
    )
    directions = {"L": (-1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "F": (0, 0, -1)}
    np.testing.assert_allclose(rows, [directions[c] for c in letters], atol=1e-12)
    assert with_letters.origins["mirrored"] == "derived"


def test_the_code_of_a_view_goes_before_its_name():
    """PS3.3 C.8.11.5.1.1; the codes by pydicom's own dictionaries of CID 4010."""
    for meaning, view in [
        ("AnteroPosterior", "AP"),
        ("PosteroAnterior", "PA"),
        ("LeftLateral", "LL"),
        ("RightLateral", "RL"),
    ]:
        current = getattr(codes.cid4010, meaning).value
        for code in (current, *mapping["SCT"][current].split()):
            found = read(SOPClassUID=DX, ViewPosition="XX", ViewCodeSequence=[item(CodeValue=code)])
            named = read(SOPClassUID=DX, ViewPosition=view)
            assert {k: found.values[k] for k in ("primary_angle", "secondary_angle", "mirrored")} == {
                k: named.values[k] for k in ("primary_angle", "secondary_angle", "mirrored")
            }
            assert "ViewCodeSequence (0054,0220), " + view in found.notes[0]
    other = item(CodeValue=codes.cid4010.AxialProjection.value)
    assert read(SOPClassUID=DX, ViewPosition="AP", ViewCodeSequence=[other]).values["primary_angle"] == 180
    axial = item(CodeValue="399348003", ViewModifierCodeSequence=[other])
    assert read(SOPClassUID=DX, ViewPosition="AP", ViewCodeSequence=[axial]).values["primary_angle"] is None
