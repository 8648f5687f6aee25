"""Models and starts of what xvr has made for a volume."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.geometry.rigid import check_rigid, invert, rigid
from XVRegistrationLib.geometry.xvr import centered_frame, extrinsics_of_range, view_and_range, without_half_voxel
from XVRegistrationLib.jobs.checks import check_new_folder
from XVRegistrationLib.registration.bank import BANK_SIZE
from XVRegistrationLib.registration.model import prepare_model, save_model

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.views import NominalView
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.networks.xvr_file import XvrCheckpoint, XvrRegistration
    from XVRegistrationLib.registration.model import PatientModel


def import_xvr_network(
    folder: str | os.PathLike[str],
    checkpoint: XvrCheckpoint,
    volume: Volume,
    frame: NDArray[np.float64] | None = None,
    progress: Callable[[int, int], None] | None = None,
    bank_size: int = BANK_SIZE,
) -> PatientModel:
    """A model of `volume` with a network that xvr has trained, and a bank over its range of poses, saved in a new `folder`.

    `frame` (4, 4) maps the frame in which the network predicts into RAS, mm: a template's RAS, which it must be given for; by
    default RAS about the volume's centre, as xvr has it for a single volume. Raises InputError where a template's is missing
    or the folder holds a model.
    """
    check_new_folder(folder)
    if frame is None:
        if checkpoint.in_template:
            raise InputError(
                "This network predicts poses in the frame of a template: give the transform between the template and the "
                "volume (xvr's --warp)."
            )
        frame = centered_frame(volume.center)
    # xvr draws poses about each volume's centre, along the axes of what it trains on.
    about = rigid(np.eye(3) if checkpoint.finetuned else frame[:3, :3], volume.center)
    poses = about @ extrinsics_of_range(checkpoint.angles, checkpoint.shifts) @ checkpoint.axes
    view, pose_range = view_and_range(poses, volume.center)
    prepared = prepare_model(
        volume, checkpoint.intrinsics, view.name, view.sod, pose_range, progress, bank_size=bank_size
    )
    set_conventions(checkpoint, frame, view)
    model = dataclasses.replace(prepared, network=checkpoint.network, training=_training(checkpoint))
    save_model(folder, model)
    return model


def set_conventions(checkpoint: XvrCheckpoint, frame: NDArray[np.float64], view: NominalView) -> None:
    """Tell the network what is before and after its T in the motion about `view`, D = before T after."""
    about = rigid(view.axes, view.isocenter)
    network = checkpoint.network
    network.before.copy_(torch.from_numpy(invert(about) @ frame))
    network.after.copy_(torch.from_numpy(checkpoint.axes @ invert(view.pose) @ about))


def start_of_xvr(registration: XvrRegistration, volume: Volume) -> dict[str, Any]:
    """The pose that xvr has found for an X-ray of `volume`, as a start: {"pose": 4x4 camera -> RAS, "intrinsics": ...}.

    It is moved by the half voxel by which xvr's registrations are beside the volume.
    """
    pose = centered_frame(volume.center) @ registration.extrinsic @ registration.axes
    pose = without_half_voxel(pose, volume.ijk_to_ras, registration.voxel_shift)
    # xvr's are of single precision.
    pose[:3, :3] = _nearest_rotation(check_rigid(pose, "pose in the file of xvr", 1e-3)[:3, :3])
    return {"pose": pose.tolist(), "intrinsics": registration.intrinsics.to_dict(), "origin": "xvr"}


def read_warp(path: str | os.PathLike[str], inverse: bool = False) -> NDArray[np.float64]:
    """The frame (4, 4), template's RAS -> volume's RAS, mm, of a rigid ITK transform, as ANTs, SimpleITK and Slicer write.

    It is one that registers the volume (moving) to the template (fixed), and so maps the template's points to the volume's;
    with `inverse`, the other way round. Raises InputError for a file without one.
    """
    import SimpleITK as sitk

    if not Path(path).is_file():
        raise InputError(f"{path} does not exist, or is no file.")
    try:
        transform = sitk.ReadTransform(str(path))
        if not transform.IsLinear():
            raise InputError(
                f"{path} holds a transform that is not rigid; register the volume to the template rigidly."
            )
        origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
        columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    except RuntimeError as e:
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"{path} holds no transform that can be read ({reason}).") from e
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack(columns, axis=1), origin
    matrix = lps_to_ras(lps_to_ras(matrix).T).T  # both sides
    try:
        check_rigid(matrix, "transform", 1e-3)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    matrix[:3, :3] = _nearest_rotation(matrix[:3, :3])
    return invert(matrix) if inverse else matrix


def _nearest_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ vt)


def _training(checkpoint: XvrCheckpoint) -> dict[str, Any]:
    """What the card says of a training that took place elsewhere; it cannot be resumed."""
    return {
        "origin": "xvr",
        "seconds": 0.0,
        "budget": 0.0,
        "steps": checkpoint.steps,
        "images": 0,
        "seed": 0,
        "history": [],
    }
