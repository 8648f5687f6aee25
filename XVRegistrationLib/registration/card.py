"""The card of a model folder: what model.json says, read without torch, so that a list of models is quick to make."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    import os

FORMAT = "xvregistration model"
FORMAT_VERSION = 1
PRETRAINED = "xvregistration pretrained model"
PRETRAINED_VERSION = 1
CARD = "model.json"
DEFAULT_SOD = 700.0
"""Distance from the source to the isocentre where nothing else is known, mm; typical of C-arms."""


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a patient's model folder; InputError where there is none or it is not one of ours."""
    card = read_any_card(folder)
    if card["format"] == PRETRAINED:
        raise InputError(
            f"{folder} is pretrained over many patients and registers none; make a model for this one with "
            "`xvregistration finetune`."
        )
    return card


def read_pretrained_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a pretrained model's folder; InputError where there is none or it is not one of ours."""
    card = read_any_card(folder)
    if card["format"] != PRETRAINED:
        raise InputError(
            f"{folder} is the model of one patient; give one that was made with `xvregistration pretrain`."
        )
    return card


def read_any_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a model folder of either kind; InputError where there is none or it is not one of ours."""
    path = Path(folder) / CARD
    if not path.is_file():
        raise InputError(f"{folder} holds no model: {CARD} is missing. Make one with `xvregistration train`.")
    try:
        card: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as e:
        raise InputError(f"{path} is damaged (not JSON: {e}); train the model again.") from e
    known = {FORMAT: FORMAT_VERSION, PRETRAINED: PRETRAINED_VERSION}
    if not isinstance(card, dict) or card.get("format") not in known:
        raise InputError(f"{path} is not the card of an XVRegistration model.")
    version = known[card["format"]]
    if card.get("format_version") != version:
        raise InputError(f"{path} has format version {card.get('format_version')}; this program reads {version}.")
    return card


def view_of(card: dict[str, Any]) -> NominalView:
    """The nominal view that the model was made about."""
    view = card["view"]
    straight = NominalView(view["name"], tuple(view["isocenter"]), view["sod"])
    lying = view.get("lying")
    return straight if lying is None else dataclasses.replace(straight, lying=tuple(tuple(row) for row in lying))


def pose_range_of(card: dict[str, Any]) -> PoseRange:
    """The range of poses that the model was made for."""
    return PoseRange(tuple(card["pose_range"]["rotation"]), tuple(card["pose_range"]["translation"]))


def intrinsics_of(card: dict[str, Any]) -> Intrinsics:
    """The camera that the bank and the network see."""
    return Intrinsics.from_dict(card["intrinsics"])


def reading_of(card: dict[str, Any]) -> Reading:
    """How the file of the model's volume is read."""
    volume = card["volume"]
    return Reading.from_dict(volume.get("reading") or {"units": volume.get("units", "HU")})
