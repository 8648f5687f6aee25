"""Networks and results of xvr: files made here in its format, and DiffDRR's own poses and renders as the judge.

No checkpoint that xvr itself has trained is at hand; what is written here has the layers and fields of its source.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import roma
import SimpleITK as sitk
import torch
import torchio

from Testing.Python.unit.exposures import expose
from Testing.Python.unit.packages import module_of_wheel
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import ras_to_lps
from XVRegistrationLib.geometry.rigid import invert, point_distance, rigid, rotation_from_euler_zxy
from XVRegistrationLib.geometry.xvr import (
    camera_axes,
    centered_frame,
    extrinsics_of_range,
    intrinsics_of_xvr,
    view_and_range,
)
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.jobs.finetune_patient import learnt_model
from XVRegistrationLib.jobs.home import describe_model
from XVRegistrationLib.jobs.import_xvr import import_xvr_network, read_warp, start_of_xvr
from XVRegistrationLib.jobs.train_patient import resume_training
from XVRegistrationLib.networks.backbones import timm_package
from XVRegistrationLib.networks.create import create_network, settings_of_card
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.networks.xvr_file import XvrCheckpoint, XvrRegistration, read_xvr
from XVRegistrationLib.networks.xvr_network import PARAMETERIZATIONS
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.grid import grid_from_density
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.siddon import siddon

DIFFDRR = ("diffdrr==0.6.1", "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7")
PIXELS = 32
# What DiffDRR's reader turns a camera by (its own reader needs packages that are not here).
REORIENT = {
    "AP": [[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    "PA": [[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
}


class Regressor(torch.nn.Module):
    """Layers with xvr's names and sizes; a network that says the same of every image where it has `told` it."""

    def __init__(self, count, told=None, *, name="resnet10t", norm="groupnorm1") -> None:
        super().__init__()
        self.backbone = timm_package().create_model(name, in_chans=1, num_classes=0, norm_layer=norm)
        self.xyz_regression = torch.nn.Linear(512, 3)
        self.rot_regression = torch.nn.Linear(512, count)
        if told is not None:
            for layer, values in ((self.rot_regression, told[0]), (self.xyz_regression, told[1])):
                torch.nn.init.zeros_(layer.weight)
                layer.bias.data = torch.as_tensor(values, dtype=torch.float32)

    def forward(self, images):
        features = self.backbone(images)
        return self.rot_regression(features), self.xyz_regression(features)


def configuration(**changes):
    """As an xvr trainer keeps it."""
    config = {
        "volpath": "ct.nii.gz", "maskpath": None, "outpath": "models", "warp": None, "ckptpath": None, "weights": None,
        "alphamin": -20.0, "alphamax": 40.0, "betamin": -15.0, "betamax": 15.0, "gammamin": -10.0, "gammamax": 10.0,
        "txmin": -30.0, "txmax": 30.0, "tymin": 600.0, "tymax": 800.0, "tzmin": -40.0, "tzmax": 40.0,
        "sdd": 1020.0, "height": PIXELS, "delx": 12.0, "orientation": "AP", "reverse_x_axis": False,
        "model_name": "resnet10t", "norm_layer": "groupnorm1", "parameterization": "quaternion_adjugate",
        "convention": "ZXY", "unit_conversion_factor": 1000.0,
    }  # fmt: skip
    return {**config, **changes}


def write_checkpoint(path, network, **changes):
    """With an optimiser's and a scheduler's state and a date, as xvr saves it."""
    # Of two layers, for small files: with a state, and the weights as they are.
    optimizer = torch.optim.Adam([*network.xyz_regression.parameters(), *network.rot_regression.parameters()], lr=0.0)
    network(torch.rand(2, 1, PIXELS, PIXELS))[0].sum().backward()
    optimizer.step()
    content = {
        "model_state_dict": network.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0).state_dict(),
        "itr": 1234,
        "model_number": 3,
        "date": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "config": configuration(**changes),
    }
    torch.save(content, path)
    return path


def told_pose(angles=(10.0, -5.0, 4.0), shift=(12.0, 690.0, -20.0)):
    """A network that says this pose, degrees about z, x, y and mm, as a quaternion adjugate and in m."""
    matrix = torch.from_numpy(rotation_from_euler_zxy([angles[1], angles[2], angles[0]]))
    q = roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(matrix))
    rows, columns = torch.triu_indices(4, 4)
    return Regressor(10, (torch.outer(q, q)[rows, columns], np.array(shift) / 1000))


@pytest.fixture(scope="module")
def small():
    """A volume of random HU in an oblique grid."""
    hu = np.random.default_rng(0).uniform(0, 1500, (9, 11, 13)).astype(np.int16)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([20.0, -15.0, 30.0]) @ np.diag([-20.0, 15.0, 22.0])
    matrix[:3, 3] = (40.0, -30.0, 100.0)
    return Volume(hu, matrix, "small")


def by_diffdrr(volume, extrinsic, drr_arguments, orientation):
    """DiffDRR's own render (H, W), of voxels of one density each, of the volume moved to its centre."""
    drr, pose = (module_of_wheel(f"diffdrr.{name}", *DIFFDRR) for name in ("drr", "pose"))
    density = torch.from_numpy(volume.array.astype(np.float64)).permute(2, 1, 0)[None] / 1000
    image = torchio.ScalarImage(tensor=density, affine=invert(centered_frame(volume.center)) @ volume.ijk_to_ras)
    reorient = torch.tensor(REORIENT[orientation], dtype=torch.float64)
    subject = torchio.Subject(volume=image, density=image, mask=None, reorient=reorient)
    renderer = drr.DRR(subject, renderer="siddon", **drr_arguments).double()
    with torch.no_grad():
        return renderer(pose.RigidTransform(torch.from_numpy(extrinsic)))[0, 0]


def by_us(volume, pose, intrinsics):
    grid = grid_from_density(volume.array.astype(np.float32) / 1000, volume.ijk_to_ras)
    return siddon(grid, rays_of(grid, pose[None], intrinsics))[0]


def unlike(a, b) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_each_parameterisation_gives_the_pose_that_diffdrr_makes_of_it(tmp_path, parameterization):
    torch.manual_seed(1)
    convention = "YXZ" if parameterization == "euler_angles" else "ZXY"
    # xvr's own defaults once; a small network for all the others.
    usual = parameterization == "quaternion_adjugate"
    parts = {"name": "resnet18", "norm": "groupnorm"} if usual else {"name": "resnet10t", "norm": "groupnorm1"}
    theirs = Regressor(PARAMETERIZATIONS[parameterization][0], **parts).eval()
    torch.nn.init.normal_(theirs.rot_regression.bias)
    torch.nn.init.normal_(theirs.xyz_regression.bias, std=0.3)
    changes = {"parameterization": parameterization, "convention": convention}
    changes |= {"model_name": parts["name"], "norm_layer": parts["norm"]}
    found = read_xvr(write_checkpoint(tmp_path / "0003.pth", theirs, **changes))
    assert isinstance(found, XvrCheckpoint)
    images = torch.rand(3, PIXELS, PIXELS) * torch.tensor([1.0, 4.0, 0.5])[:, None, None]
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    with torch.no_grad():
        numbers, shift = theirs((((images - low) / (high - low + 1e-6) - 0.15) / 0.1)[:, None])
        convert = module_of_wheel("diffdrr.pose", *DIFFDRR).convert
        expected = convert(numbers, 1000 * shift, parameterization=parameterization, convention=convention).matrix
        torch.testing.assert_close(found.network.transforms(images), expected, atol=5e-3, rtol=1e-4)


@pytest.mark.parametrize("orientation", ["AP", "PA"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_imported_pose_shows_what_diffdrr_draws_at_xvrs(tmp_path, small, orientation, reverse):
    """Orientation, flipped axis, isocentre and mirroring, through the file and the saved model: image against image."""
    shift = (12.0, 690.0 if orientation == "AP" else -690.0, -20.0)
    places = {"tymin": min(0.8 * shift[1], 1.2 * shift[1]), "tymax": max(0.8 * shift[1], 1.2 * shift[1])}
    told = told_pose(shift=shift)
    path = write_checkpoint(tmp_path / "0003.pth", told, orientation=orientation, reverse_x_axis=reverse, **places)
    model = import_xvr_network(tmp_path / "model", read_xvr(path), small, bank_size=64)
    with pytest.raises(InputError, match="a network of xvr, which registers and cannot be trained further"):
        learnt_model(tmp_path / "model")
    network = load_model(tmp_path / "model", small).network
    pose = predict(network, model.view, torch.rand(1, PIXELS, PIXELS))[0]
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = rotation_from_euler_zxy([-5.0, 4.0, 10.0])
    extrinsic[:3, 3] = extrinsic[:3, :3] @ shift
    arguments = {"sdd": 1020.0, "height": PIXELS, "width": PIXELS, "delx": 12.0, "reverse_x_axis": reverse}
    drawn = by_diffdrr(small, extrinsic[None], arguments, orientation)
    assert unlike(by_us(small, pose, model.intrinsics), drawn) < 1e-3
    assert network_camera(model.intrinsics, PIXELS) == model.intrinsics  # the network is shown what it was trained on


def test_a_network_in_a_templates_frame_is_turned_into_the_patients(tmp_path, small):
    path = write_checkpoint(tmp_path / "0003.pth", told_pose(), warp="template.mat")
    template_to_patient = rigid(rotation_from_euler_zxy([5.0, 20.0, -10.0]), [30.0, -12.0, 55.0])
    with pytest.raises(InputError, match="frame of a template"):
        import_xvr_network(tmp_path / "none", read_xvr(path), small)
    assert not (tmp_path / "none").exists()
    # As a registration of the patient (moving) to the template (fixed) leaves it: about some centre, in LPS.
    lps = ras_to_lps(ras_to_lps(template_to_patient).T).T
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter((10.0, 20.0, -5.0))
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation((lps[:3, 3] + lps[:3, :3] @ [10.0, 20.0, -5.0] - [10.0, 20.0, -5.0]).tolist())
    for name in ("warp.tfm", "warp.mat"):
        sitk.WriteTransform(transform, str(tmp_path / name))
        np.testing.assert_allclose(read_warp(tmp_path / name), template_to_patient, atol=1e-4)
        np.testing.assert_allclose(read_warp(tmp_path / name, inverse=True), invert(template_to_patient), atol=1e-4)
    checkpoint = read_xvr(path)
    model = import_xvr_network(tmp_path / "model", checkpoint, small, read_warp(tmp_path / "warp.tfm"), bank_size=64)
    images = torch.rand(1, PIXELS, PIXELS)
    with torch.no_grad():
        predicted = checkpoint.network.transforms(images)[0].double().numpy()
    # Where the template lies in its own RAS says nothing of where poses were drawn.
    assert model.view.sod == pytest.approx(700.0)
    assert max(model.pose_range.translation) < 300
    expected = template_to_patient @ predicted @ camera_axes("AP")
    np.testing.assert_allclose(predict(model.network, model.view, images)[0], expected, atol=2e-3)


@pytest.mark.parametrize("written", ["text", "scaled"])
def test_what_is_no_rigid_transform_is_refused(tmp_path, written):
    path = tmp_path / "warp.tfm"
    if written == "text":
        path.write_text("no transform")
    else:
        sitk.WriteTransform(sitk.ScaleTransform(3, (1.1, 1.0, 1.0)), str(path))
    with pytest.raises(InputError, match=str(path)):
        read_warp(path)


def test_the_range_of_the_model_holds_the_range_of_xvr(small):
    angles, shifts = ((135.0, 225.0), (-45.0, 45.0), (-15.0, 15.0)), ((-50.0, 50.0), (450.0, 900.0), (-70.0, 70.0))
    drawn = centered_frame(small.center) @ extrinsics_of_range(angles, shifts, seed=7) @ camera_axes("AP")
    view, pose_range = view_and_range(drawn, small.center)
    assert view.name == "PA"  # turned by 180 degrees about the patient's long axis
    assert view.sod == pytest.approx(675.0)
    assert 45 <= pose_range.rotation[1] < 60
    for matrix in view.relative(drawn):
        z, x, y = roma.rotmat_to_euler("ZXY", torch.from_numpy(matrix[:3, :3]), degrees=True, as_tuple=True)
        assert (np.abs([float(x), float(y), float(z)]) <= pose_range.rotation).all()
        assert (np.abs(matrix[:3, 3]) <= pose_range.translation).all()


def test_a_range_with_the_source_inside_the_patient_is_refused(tmp_path, small):
    checkpoint = read_xvr(write_checkpoint(tmp_path / "0003.pth", told_pose(), tymin=-800.0))
    with pytest.raises(InputError, match="0 mm from the isocentre"):
        import_xvr_network(tmp_path / "model", checkpoint, small)
    assert not (tmp_path / "model").exists()


def write_result(path, final, initial, drr, monkeypatch):
    """A parameters.pt as xvr saves it, with paths and a table of pandas, which is not needed to read it."""
    frame = types.ModuleType("pandas.core.frame")
    frame.DataFrame = type("DataFrame", (), {"__module__": "pandas.core.frame"})
    monkeypatch.setitem(sys.modules, "pandas", types.ModuleType("pandas"))
    monkeypatch.setitem(sys.modules, "pandas.core", types.ModuleType("pandas.core"))
    monkeypatch.setitem(sys.modules, "pandas.core.frame", frame)
    table = frame.DataFrame()
    table.ncc = np.linspace(0, 1, 5)
    content = {
        "drr": {"volume": pathlib.PosixPath("/data/somebody.nii.gz"), "mask": None, "labels": None, **drr},
        "xray": {"filename": pathlib.PosixPath("/data/xray.dcm"), "crop": 0, "linearize": True},
        "optimization": {"scales": ["8"], "n_itrs": [100]},
        "init_pose": torch.from_numpy(initial).float()[None],
        "final_pose": None if final is None else torch.from_numpy(final).float()[None],
        "type": "model",
        "date": datetime.datetime(2026, 1, 2),
        "trajectory": table,
        "runtime": 1.5,
    }
    torch.save(content, path)
    monkeypatch.undo()


def test_a_result_of_xvr_is_moved_by_the_half_voxel_that_it_is_off(tmp_path, small, monkeypatch):
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = rotation_from_euler_zxy([3.0, -4.0, 8.0])
    extrinsic[:3, 3] = extrinsic[:3, :3] @ [5.0, 700.0, -8.0]
    camera = {"sdd": 1100.0, "height": 30, "width": 36, "delx": 10.0, "dely": 12.0, "x0": 17.0, "y0": -23.0}
    drr = {**camera, "orientation": "AP", "reverse_x_axis": True, "drr_kwargs": {"voxel_shift": 0.0}}
    write_result(tmp_path / "parameters.pt", extrinsic, np.eye(4), drr, monkeypatch)
    assert b"somebody" in (tmp_path / "parameters.pt").read_bytes()
    found = read_xvr(tmp_path / "parameters.pt")
    assert isinstance(found, XvrRegistration)
    start = start_of_xvr(found, small)
    # What their registration compared with the X-ray is what our camera sees from the corrected pose.
    theirs = by_diffdrr(small, extrinsic[None], {**camera, "reverse_x_axis": True, "voxel_shift": 0.0}, "AP")
    assert unlike(by_us(small, np.array(start["pose"]), found.intrinsics), theirs) < 1e-3
    plain = centered_frame(small.center) @ extrinsic @ camera_axes("AP")
    assert unlike(by_us(small, plain, found.intrinsics), theirs) > 0.1
    assert "somebody" not in json.dumps(start)
    # What their network predicted was never refined in the moved volume.
    write_result(tmp_path / "init.pt", None, extrinsic, drr, monkeypatch)
    np.testing.assert_allclose(start_of_xvr(read_xvr(tmp_path / "init.pt"), small)["pose"], plain, atol=1e-4)


@pytest.mark.parametrize("orientation", ["AP", "PA"])
@pytest.mark.parametrize("reverse", [False, True])
def test_off_centre_detectors_of_xvr_are_ours(small, orientation, reverse):
    extrinsic = np.eye(4)
    extrinsic[:3, 3] = [5.0, 700.0 if orientation == "AP" else -700.0, -8.0]
    arguments = {"sdd": 1100.0, "height": 30, "width": 37, "delx": 10.0, "dely": 12.0, "x0": 41.0, "y0": -23.0}
    theirs = by_diffdrr(small, extrinsic[None], {**arguments, "reverse_x_axis": reverse}, orientation)
    camera = intrinsics_of_xvr(1100.0, (10.0, 12.0), (37, 30), (41.0, -23.0), orientation, reverse)
    pose = centered_frame(small.center) @ extrinsic @ camera_axes(orientation)
    assert np.linalg.det(pose) == pytest.approx(1)
    assert unlike(by_us(small, pose, camera), theirs) < 1e-3


class Runs:
    """Writes a file when a pickle that holds it is loaded carelessly."""

    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def test_nothing_in_a_file_is_run(tmp_path):
    marker, path = tmp_path / "run", tmp_path / "0003.pth"
    content = torch.load(write_checkpoint(path, told_pose()), weights_only=False)
    for harm, read in ((Runs(exec, f"open({str(marker)!r}, 'w')"), True), (Runs(os.system, f"touch {marker}"), False)):
        torch.save({**content, "date": harm}, path)
        if read:  # what it names holds nothing
            assert isinstance(read_xvr(path), XvrCheckpoint)
        else:  # torch knows this module for what it is
            with pytest.raises(InputError, match="damaged or no file of xvr"):
                read_xvr(path)
        assert not marker.exists()
        torch.load(path, weights_only=False)
        assert marker.exists()  # it would have
        marker.unlink()


def test_what_cannot_be_used_is_said(tmp_path):
    good = write_checkpoint(tmp_path / "good.pth", told_pose())
    content = torch.load(good, weights_only=False)
    path = tmp_path / "bad.pth"

    def refused(reason):
        with pytest.raises(InputError, match=reason):
            read_xvr(path)

    refused("does not exist")
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    refused("damaged or no file of xvr")
    path.write_text("x,y\n1,2\n")
    refused("damaged or no file of xvr")
    torch.save({"weights": torch.zeros(3)}, path)
    refused("neither a checkpoint")
    for changes, reason in (
        ({"parameterization": "rotation_12d"}, "none of axis_angle"),
        ({"parameterization": "quaternion"}, "do not fit"),
        ({"parameterization": "euler_angles", "convention": "ZZZ"}, "no three axes"),
        ({"model_name": "hf-hub:someone/something"}, "no timm backbone"),
        ({"model_name": "resnet14t"}, "do not fit"),
        ({"norm_layer": "spectral"}, "cannot make"),
        ({"orientation": "LAT"}, "neither AP nor PA"),
        ({"sdd": -5.0}, "must be positive"),
        ({"alphamin": float("nan")}, "range of alpha"),
    ):
        torch.save({**content, "config": {**content["config"], **changes}}, path)
        refused(reason)
    config = {k: v for k, v in content["config"].items() if k != "delx"}
    torch.save({**content, "config": config}, path)
    refused("has no 'delx'")
    weights = dict(content["model_state_dict"])
    weights["xyz_regression.bias"] = torch.full((3,), float("nan"))
    torch.save({**content, "model_state_dict": weights}, path)
    refused("not all finite")


def test_register_starts_from_an_imported_network(phantom, points, tmp_path, monkeypatch):
    """Through the command, as a user has it: a CT file, a checkpoint, a model folder, an X-ray of another detector."""
    ct = tmp_path / "ct.nii.gz"
    image = sitk.GetImageFromArray(phantom.array)
    lps = ras_to_lps(phantom.ijk_to_ras)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(ct))
    checkpoint = write_checkpoint(tmp_path / "0003.pth", told_pose(), alphamin=0.0, alphamax=20.0)
    folder = tmp_path / "model"
    assert main(["import-xvr", str(checkpoint), str(ct), "-o", str(folder)]) == 0
    assert main(["import-xvr", str(checkpoint), str(ct), "-o", str(folder)]) == 2  # nothing is overwritten
    model = load_model(folder)
    assert describe_model(folder).origin == "xvr"
    said = predict(model.network, model.view, torch.rand(1, PIXELS, PIXELS))[0]
    truth = said @ rigid(rotation_from_euler_zxy([1.0, -1.0, 0.5]), [4.0, -3.0, 6.0])
    xray = expose(model.pyramid.finest, truth, Intrinsics(1100.0, (2.5, 2.8), (70.0, 60.0), (150, 130)))
    found = register_xray(model, xray, ("network",))
    assert found.winner == "network"
    assert point_distance(found.pose, truth, points) < 1.0
    card = json.loads((folder / "model.json").read_text())
    assert create_network(settings_of_card(card["network"])).settings == model.network.settings
    with pytest.raises(InputError, match="cannot go on"):
        resume_training(folder, minutes=1)
    drr = {
        "sdd": 1100.0, "height": 30, "width": 36, "delx": 10.0, "dely": 12.0, "x0": 0.0, "y0": 0.0,
        "orientation": "AP", "reverse_x_axis": False, "drr_kwargs": {"voxel_shift": 0.0},
    }  # fmt: skip
    write_result(tmp_path / "parameters.pt", np.eye(4), np.eye(4), drr, monkeypatch)
    assert main(["import-xvr", str(tmp_path / "parameters.pt"), str(ct), "-o", str(tmp_path / "start.json")]) == 0
    assert np.array(json.loads((tmp_path / "start.json").read_text())["pose"]).shape == (4, 4)
