"""Where models and jobs are kept, and which models there are; without torch, so that a list is quick to make."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.card import CARD, read_any_card, read_card

HOME = "XVREGISTRATION_HOME"
"""Environment variable that names another data folder than the user's."""

PLAN = "pretraining.json"
"""What a pretraining is to do, in the folder of the model that it makes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelEntry:
    """A model of the library, as its card describes it."""

    folder: Path
    view: str
    minutes: float
    """For how long its network has been trained; 0 for a bank alone, and for a network of another program's."""
    origin: str
    """The program that trained its network, where that was another one; else empty."""
    error: float | None
    """Last validation error, median mm; None without a network."""
    fingerprint: str
    """Of the volume that it was made for."""
    size: int
    """On disk, bytes."""
    changed: float
    """When it was last saved, seconds since 1970."""


def data_folder() -> Path:
    """The folder of models and jobs: the one that XVREGISTRATION_HOME names, else the user's; it may not exist yet."""
    named = os.environ.get(HOME)
    if named:
        return Path(named).expanduser().resolve()
    # Not by a package for it: Slicer has none, and the panel must open before it can offer to install one.
    return _applications_data() / "XVRegistration"


def models_folder(root: Path | None = None) -> Path:
    """The library of models below the data folder `root`."""
    return (root or data_folder()) / "models"


def jobs_folder(root: Path | None = None) -> Path:
    """The folder of jobs below the data folder `root`."""
    return (root or data_folder()) / "jobs"


def list_models(root: Path | None = None) -> list[ModelEntry]:
    """The models of the library, latest first; what is damaged is left out and said in the log."""
    entries = []
    for folder in _folders(models_folder(root)):
        if not (folder / CARD).exists():
            continue  # just made, or left by a preparation that was stopped
        try:
            entries.append(describe_model(folder))
        except (InputError, OSError) as e:
            _log.warning("Left out of the list of models: %s", e)
    return sorted(entries, key=lambda entry: entry.changed, reverse=True)


def describe_model(folder: Path) -> ModelEntry:
    """What the card of a model folder says; InputError where it is damaged."""
    card = read_card(folder)
    try:
        training = card["training"]
        history = training.get("history", [])
        return ModelEntry(
            folder=Path(folder),
            view=str(card["view"]["name"]),
            minutes=float(training.get("seconds", 0.0)) / 60,
            origin=str(training.get("origin", "")),
            error=float(history[-1]["validation"]) if history else None,
            fingerprint=str(card["volume"]["fingerprint"]),
            size=sum(_size(path) for path in Path(folder).iterdir()),
            changed=(Path(folder) / CARD).stat().st_mtime,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{Path(folder) / CARD} is damaged (no {e}); train the model again.") from e


def new_model_folder(root: Path | None, fingerprint: str, view: str) -> Path:
    """A new empty folder in the library, named by the volume's fingerprint and not by its or the patient's name."""
    library = models_folder(root)
    library.mkdir(parents=True, exist_ok=True)
    words = (view, fingerprint[:12], time.strftime("%Y%m%d-%H%M%S"))
    stem = "-".join("".join(c for c in word if c.isalnum() or c == "-") for word in words).lower()
    for number in itertools.count(1):
        folder = library / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def saved_training(model: Path) -> dict[str, Any]:
    """What the card of a model says of its network's training; empty where there is none."""
    try:
        training: dict[str, Any] = read_any_card(model)["training"]
    except (InputError, KeyError):
        return {}
    return training


def what_is_kept(model: Path) -> str:
    """The end of a sentence: what a model folder holds after its training has stopped."""
    if not (model / CARD).exists() and (model / PLAN).exists():
        return "the CTs that were ready are kept."
    if not (model / CARD).exists():
        return f"there is no model in {model} any more."
    training = saved_training(model)
    if not training:
        return "the model registers by its bank."
    return f"the model has the checkpoint of {training['seconds'] / 60:.1f} minutes."


def _applications_data() -> Path:
    """Where this system keeps the data of a user's applications."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_DATA_HOME", "")
    # The specification has a relative one ignored.
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a training just replaced it
        return 0
