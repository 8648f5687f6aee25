"""What can be wrong with a wish to train, found before anything is written; without torch."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.card import CARD

if TYPE_CHECKING:
    import os

DEFAULT_MINUTES = 5.0
KEPT_VOLUME = "volume.npy"
"""A copy of the volume in the model's folder, made for one training, which removes it when it has read it."""
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def check_new_folder(folder: str | os.PathLike[str]) -> None:
    """Raise InputError unless a model may be written to `folder`."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder for the model.")
    if (path / CARD).exists():
        raise InputError(f"{path} already holds a model; go on with that, or choose another folder.", give=("resume",))


def check_minutes(minutes: float) -> None:
    """Raise InputError for a time budget that is none."""
    if not 0 <= minutes < math.inf:
        raise InputError(f"The time budget must be 0 or more minutes, not {minutes}.")


def training_seconds(folder: str | os.PathLike[str], card: dict[str, Any], minutes: float | None = None) -> float:
    """For how many seconds in all the network of this folder is to be trained: `minutes`, or else its first budget.

    Raises InputError where it has been trained for that long already.
    """
    if minutes is not None:
        check_minutes(minutes)
    training = card["training"]
    budget = float(training["budget"]) if training else 60 * DEFAULT_MINUTES
    seconds = budget if minutes is None else 60 * minutes
    done = float(training["seconds"]) if training else 0.0
    if seconds == 0:
        raise InputError("The time budget for training a network must be more than 0 minutes.")
    if seconds <= done:
        raise InputError(f"{folder} has been trained for {done / 60:.1f} minutes already; ask for more minutes.")
    return seconds


def check_device_name(name: str | None) -> None:
    """Raise InputError for a name that no device has; whether this computer has it, torch knows."""
    if name and not _DEVICE.fullmatch(name):
        raise InputError(f"There is no device {name!r}; use cpu, cuda, or cuda:0 and so on.")


def check_volume(folder: str | os.PathLike[str], card: dict[str, Any], volume: Path | None) -> str | None:
    """The absolute place of `volume`, None where the card's will do; InputError where nothing is there."""
    if volume is not None:
        if not Path(volume).exists():
            raise InputError(f"The volume {volume} is not there; give its new place.")
        return str(Path(volume).absolute())
    place = card["volume"]["path"]
    if not place:
        raise InputError(f"The model {folder} does not know where its volume is; give the volume with it.")
    if not Path(place).exists():
        raise InputError(f"The volume of the model {folder} is no longer at {place}; give its new place.")
    return None


def is_kept_volume(volume: str | os.PathLike[str], model: Path) -> bool:
    """Whether `volume` is the copy in the model's folder, and no file of the user's."""
    path = Path(volume)
    return path.name == KEPT_VOLUME and path.parent.resolve() == Path(model).resolve()
