"""What the engine does for comparing an X-ray with the volume, and for a pose by hand: maps, and the fit of landmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.networks.attention_on_xray import attention_on_xray
from XVRegistrationLib.registration.error_map import error_map
from XVRegistrationLib.registration.landmarks import pose_from_landmarks
from XVRegistrationLib.registration.search import prepare_xray

if TYPE_CHECKING:
    from XVRegistrationLib.jobs.engine_patient import Patient
    from XVRegistrationLib.jobs.engine_server import Answer, Request


def xray_in(request: Request) -> Xray:
    """The X-ray of a request: `name`, `intrinsics`, `scale`, its `pixels`, and the `mask` of those that count."""
    f, mask = request.fields, request.arrays.get("mask")
    return Xray(
        f["name"],
        request.arrays["pixels"],
        Intrinsics.from_dict(f["intrinsics"]),
        f["scale"],
        mask=None if mask is None else mask.astype(np.bool_),
    )


def show_errors(patient: Patient, request: Request) -> Answer:
    """`error_map` of the X-ray at `pose`: the array "image" (h, w), 0..1 and NaN."""
    pose = check_rigid(request.fields["pose"])
    return {}, {"image": error_map(patient.pyramid, prepare_xray(xray_in(request)), pose, patient.volume.center)}


def show_attention(patient: Patient, request: Request) -> Answer:
    """`attention_on_xray` of the model's network: the array "image" (h, w), 0..1."""
    if patient.model is None or patient.model.network is None:
        raise InputError("The model has no network yet; train it.")
    prepared = prepare_xray(xray_in(request))
    image = attention_on_xray(patient.model.network, patient.model.intrinsics, prepared.image, prepared.xray.intrinsics)
    return {}, {"image": image}


def fit_landmarks(request: Request) -> Answer:
    """`pose_from_landmarks` of `points` and `pixels`: pose, which pairs it rests on, their miss in px, and a remark."""
    f = request.fields
    found = pose_from_landmarks(f["points"], f["pixels"], Intrinsics.from_dict(f["intrinsics"]))
    return {
        "pose": found.pose.tolist(),
        "inliers": found.inliers.tolist(),
        "rms_px": float(np.sqrt((found.residual_px[found.inliers] ** 2).mean())),
        "remark": found.remark,
    }, {}
