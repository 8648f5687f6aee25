"""A patient made ready for registration, in memory and as a folder.

A model folder holds `model.json`, the card, and the safetensors files that it names. The card is written last and names each file by
its own name, so that a reader always finds a matching set. The volume stays where it is: the card tells its path and its fingerprint.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.networks.create import create_network, settings_of_card
from XVRegistrationLib.registration.bank import BANK_SIZE, Bank, bank_cover, build_bank
from XVRegistrationLib.registration.card import (
    CARD,
    DEFAULT_SOD,
    FORMAT,
    FORMAT_VERSION,
    intrinsics_of,
    pose_range_of,
    read_any_card,
    read_card,
    reading_of,
    view_of,
)
from XVRegistrationLib.registration.tensors import load_tensors, remove_replaced, save_learnt, save_tensors
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from XVRegistrationLib.networks.pose_network import PoseNetwork

_SAME_PLACE = 1e-3  # mm, and mm a voxel: what programs that rewrite a header differ by


@dataclass(eq=False)
class PatientModel:
    """A volume with everything that registers X-rays to it."""

    volume: Volume
    pyramid: Pyramid
    view: NominalView
    pose_range: PoseRange
    intrinsics: Intrinsics
    """The camera that the bank and the network see; X-rays are resampled to it."""
    bank: Bank
    network: PoseNetwork | None = None
    training: dict[str, Any] = field(default_factory=dict)
    """How the network was trained: seconds, budget, steps, images, and history (the validation curve)."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Of a network that was not trained from scratch: what it was before, and how the patient lies in its template."""
    anatomy: str = ""
    """What part of the body it is: the name of a preset, or the words of who trained the network that it was made of."""

    @property
    def patients(self) -> int:
        """How many patients the network has learnt, this one included."""
        return int(self.origin.get("patients", 0)) + 1

    @property
    def cut_off(self) -> bool:
        """Whether the volume ends within the body."""
        return self.pyramid.beyond is not None

    @cached_property
    def bank_cover(self) -> torch.Tensor | None:
        """(N, H, W) which of a bank's pixels the volume holds all of the body for; None where it holds all of it."""
        return None if self.pyramid.beyond is None else bank_cover(self.bank, self.pyramid.beyond)


def prepare_model(
    volume: Volume,
    intrinsics: Intrinsics,
    view: str | NominalView = "AP",
    sod: float = DEFAULT_SOD,
    pose_range: PoseRange | None = None,
    progress: Callable[[int, int], None] | None = None,
    pyramid: Pyramid | None = None,
    bank_size: int = BANK_SIZE,
) -> PatientModel:
    """A model that registers by its bank alone, ready in seconds; the isocentre is the volume's centre, or that of the `view`.

    `progress` is called with renders done and renders in all. `pyramid` is the volume's where there is one already.
    """
    nominal = view if isinstance(view, NominalView) else nominal_view(volume, view, sod)
    pyramid = pyramid or Pyramid(density_grid(volume))
    poses = pose_range or PoseRange()
    bank = build_bank(pyramid.finest, nominal, poses, intrinsics, bank_size, progress)
    return PatientModel(volume, pyramid, nominal, poses, intrinsics, bank)


def nominal_view(volume: Volume, name: str, sod: float = DEFAULT_SOD) -> NominalView:
    """The view of this name of a volume's centre."""
    x, y, z = volume.center.tolist()
    return NominalView(name, (x, y, z), sod)


def save_model(
    folder: str | os.PathLike[str], model: PatientModel, optimizer: dict[str, torch.Tensor] | None = None
) -> None:
    """Write a model, replacing the one in `folder` only when all of it is written.

    `optimizer` are the tensors that a training needs to go on.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    bank = {"poses": torch.from_numpy(model.bank.poses), "features": model.bank.features.half()}
    content = hashlib.sha256(b"".join(t.numpy().tobytes() for t in bank.values())).hexdigest()[:12]
    files = {"bank": f"bank-{content}.safetensors"}
    if not (root / files["bank"]).exists():
        save_tensors(root / files["bank"], bank)
    files |= save_learnt(root, model.training, model.network, optimizer)
    card = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "files": files,
        "volume": {
            "path": model.volume.path,
            "name": model.volume.name,
            "fingerprint": model.volume.fingerprint,
            "size": list(model.volume.array.shape[::-1]),
            "ijk_to_ras": model.volume.ijk_to_ras.tolist(),
            "units": model.volume.units,
            "reading": (model.volume.reading or Reading(model.volume.units)).to_dict(),
        },
        "view": dataclasses.asdict(model.view),
        "pose_range": dataclasses.asdict(model.pose_range),
        "intrinsics": model.intrinsics.to_dict(),
        "bank_intrinsics": model.bank.intrinsics.to_dict(),
        "network": model.network.settings.to_dict() if model.network is not None else None,
        "training": model.training,
        "origin": model.origin,
        "anatomy": model.anatomy,
        "versions": versions(),
    }
    write_json(root / CARD, card)
    remove_replaced(root, files)


def load_model(
    folder: str | os.PathLike[str],
    volume: Volume | None = None,
    pyramid: Pyramid | None = None,
    *,
    other_volume: bool = False,
) -> PatientModel:
    """Read a model, and its volume from where the card says unless one is given, perhaps with the pyramid made of it.

    Raises InputError for a folder without a model, a volume that cannot be found, or one the model was not made for; with
    `other_volume` such a one is taken: a later CT of the same patient that lies as the first one did.
    """
    root, card = Path(folder), read_card(folder)
    described = card["volume"]
    if volume is None:
        if not described["path"]:
            raise InputError(f"The model {root} does not know where its volume is; give the volume with it.")
        if not Path(described["path"]).exists():
            raise InputError(f"The volume of the model {root} is no longer at {described['path']}; give its new place.")
        volume = read_volume(described["path"], reading_of(card))
    if not other_volume:
        _check_same(root, volume, described)
    try:
        bank, network = _load_parts(root, card)
    except InputError:
        # A training in another process may have replaced the files since the card was read.
        fresh = read_card(root)
        if fresh["files"] == card["files"]:
            raise
        card = fresh
        bank, network = _load_parts(root, card)
    return PatientModel(
        volume,
        pyramid or Pyramid(density_grid(volume)),
        view_of(card),
        pose_range_of(card),
        intrinsics_of(card),
        bank,
        network,
        card["training"],
        card.get("origin") or {},
        card.get("anatomy", ""),
    )


def load_optimizer(folder: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The optimiser's tensors of a model folder of either kind; InputError where its training cannot go on."""
    card = read_any_card(folder)
    name = card["files"].get("optimizer")
    if name is None:
        why = "it holds no optimiser state"
    else:
        try:
            return load_tensors(Path(folder) / name)
        except InputError:
            why = f"{name} is missing or damaged"
    raise InputError(
        f"The training of {folder} cannot go on: {why}. What it has learnt is whole and can be used as it is; to learn "
        "more, train into a new folder."
    )


def load_network(root: Path, card: dict[str, Any]) -> PoseNetwork | None:
    """The network of a model folder with this card; None where it has none. Raises InputError for damaged weights."""
    if card["network"] is None:
        return None
    network = create_network(settings_of_card(card["network"]))
    try:
        network.load_state_dict(load_tensors(root / card["files"]["network"]))
    except RuntimeError as e:
        raise InputError(
            f"The weights of {root} do not fit the network that its card describes; train it again."
        ) from e
    network.eval()
    return network


def _check_same(root: Path, volume: Volume, described: dict[str, Any]) -> None:
    """Raise InputError unless a volume is the one that the card describes, where it was."""
    if volume.fingerprint != described["fingerprint"]:
        raise InputError(
            f"The model {root} was made for another volume ({described['name']}, {_times(described['size'])} voxels) than "
            f"{volume.name} ({_times(volume.array.shape[::-1])} voxels); train a model for this one, or take it as another volume of the same patient."
        )
    if not np.allclose(volume.ijk_to_ras, described["ijk_to_ras"], atol=_SAME_PLACE):
        raise InputError(
            f"The model {root} was made for {volume.name} at another place: the voxels are the same, but not where they lie "
            "in RAS. Undo the transform or the change of its header, or train a model for this one."
        )


def _load_parts(root: Path, card: dict[str, Any]) -> tuple[Bank, PoseNetwork | None]:
    tensors = load_tensors(root / card["files"]["bank"])
    bank = Bank(tensors["poses"].numpy(), tensors["features"].float(), Intrinsics.from_dict(card["bank_intrinsics"]))
    return bank, load_network(root, card)


def _times(size: Any) -> str:
    return " x ".join(str(int(n)) for n in np.asarray(size))
