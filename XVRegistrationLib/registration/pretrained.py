"""Networks that were trained over many patients, as a folder: what finetuning starts from.

Like a patient's model it is a card and the safetensors files that it names; in the place of the volume there is a template, the
coarse CT that all patients were registered to. Nothing in it tells who the patients are, but the template is one of them, seen
at several millimetres a voxel.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.registration.card import (
    CARD,
    PRETRAINED,
    PRETRAINED_VERSION,
    intrinsics_of,
    pose_range_of,
    read_pretrained_card,
    view_of,
)
from XVRegistrationLib.registration.model import load_network
from XVRegistrationLib.registration.tensors import load_tensors, remove_replaced, save_learnt, save_tensors
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    import os

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView, PoseRange
    from XVRegistrationLib.networks.pose_network import PoseNetwork


@dataclass(eq=False)
class PretrainedModel:
    """A network for patients whom it has not seen, and the template in whose space it predicts."""

    template: Volume
    """Coarse HU; its RAS is the space of `view`."""
    view: NominalView
    pose_range: PoseRange
    intrinsics: Intrinsics
    network: PoseNetwork
    anatomy: str = ""
    """What part of the body it knows, in the words of who trained it."""
    patients: int = 0
    """How many it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """How it was trained: seconds, budget, steps, images, seed, and history (the validation curve)."""

    @property
    def identity(self) -> str:
        """Short hash of the network's weights."""
        digest = hashlib.sha256()
        for tensor in self.network.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def save_pretrained(
    folder: str | os.PathLike[str], model: PretrainedModel, optimizer: dict[str, torch.Tensor] | None = None
) -> None:
    """Write a pretrained model, replacing the one in `folder` only when all of it is written."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    files = {"template": "template.safetensors"}
    if not (root / files["template"]).exists():
        save_tensors(root / files["template"], {"hu": torch.from_numpy(np.ascontiguousarray(model.template.array))})
    files |= save_learnt(root, model.training, model.network, optimizer)
    card = {
        "format": PRETRAINED,
        "format_version": PRETRAINED_VERSION,
        "files": files,
        "anatomy": model.anatomy,
        "patients": model.patients,
        "template": {
            "fingerprint": model.template.fingerprint,
            "size": list(model.template.array.shape[::-1]),
            "ijk_to_ras": model.template.ijk_to_ras.tolist(),
        },
        "identity": model.identity,
        "view": dataclasses.asdict(model.view),
        "pose_range": dataclasses.asdict(model.pose_range),
        "intrinsics": model.intrinsics.to_dict(),
        "network": model.network.settings.to_dict(),
        "training": model.training,
        "versions": versions(),
    }
    write_json(root / CARD, card)
    remove_replaced(root, files)


def load_pretrained(folder: str | os.PathLike[str]) -> PretrainedModel:
    """Read a pretrained model; InputError for a folder without one, or one that is damaged or of another version."""
    root, card = Path(folder), read_pretrained_card(folder)
    try:
        view, poses, camera = view_of(card), pose_range_of(card), intrinsics_of(card)
        matrix = np.array(card["template"]["ijk_to_ras"], dtype=np.float64)
        tensors = load_tensors(root / card["files"]["template"])
        template = Volume(tensors["hu"].numpy(), matrix, "template")
        network = load_network(root, card)
        said = str(card["anatomy"]), int(card["patients"]), dict(card["training"])
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{root / CARD} is damaged (no {e}); pretrain the model again.") from e
    if network is None:
        raise InputError(f"{root / CARD} is damaged (no network); pretrain the model again.")
    if template.fingerprint != card["template"]["fingerprint"]:
        raise InputError(f"{root / card['files']['template']} is not the template that the card describes.")
    return PretrainedModel(template, view, poses, camera, network, *said)
