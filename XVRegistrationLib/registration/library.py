"""Which models a folder holds, by their cards; without torch, so that a list is quick to make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.card import CARD, PRETRAINED, intrinsics_of, pose_range_of, read_any_card, view_of

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class ListedModel:
    """A model as its card describes it."""

    folder: Path
    kind: str
    """bank, network, finetuned, or pretrained."""
    anatomy: str
    view: str
    rotation: tuple[float, float, float]
    """Range, +- degrees."""
    translation: tuple[float, float, float]
    """Range, +- mm."""
    detector: str
    """Width x height in mm, at the distance from the source."""
    seconds: float
    """Of training, over all runs."""
    images: int
    error: float | None
    """Last validation error, median mm; None without a trained network."""
    fingerprint: str
    """Of the volume or the template."""
    patients: int
    """That the network has learnt, the present one included."""
    history: list[dict[str, float]]
    """The validation curve: rows of seconds, images, loss (mm) and validation (median mm)."""
    versions: dict[str, str]


def models_in(root: str | os.PathLike[str]) -> tuple[list[ListedModel], list[tuple[Path, str]]]:
    """The models in a folder and in the folders directly in it, by name, and why the others of these cannot be read."""
    top = Path(root)
    models, damaged = [], []
    for folder in [top] if (top / CARD).exists() else _folders(top):
        try:
            models.append(listed(folder))
        except InputError as e:
            damaged.append((folder, str(e)))
    return models, damaged


def listed(folder: Path) -> ListedModel:
    """What the card of a model folder of either kind says; InputError where it is damaged or names files that are gone."""
    card = read_any_card(folder)
    try:
        missing = [name for name in card["files"].values() if not (folder / name).is_file()]
        if missing:
            raise InputError(f"{folder / missing[0]} is missing; the model is incomplete. Train it again.")
        training, poses, camera = card["training"], pose_range_of(card), intrinsics_of(card)
        history, pretrained, origin = (
            training.get("history", []),
            card["format"] == PRETRAINED,
            card.get("origin") or {},
        )
        width, height = camera.extent
        return ListedModel(
            folder=folder,
            kind=_kind(card),
            anatomy=str(card.get("anatomy", "")),
            view=view_of(card).name,
            rotation=poses.rotation,
            translation=poses.translation,
            detector=f"{width:.0f} x {height:.0f} mm at {camera.sdd:.0f} mm",
            seconds=float(training.get("seconds", 0.0)),
            images=int(training.get("images", 0)),
            error=float(history[-1]["validation"]) if history else None,
            fingerprint=str(card["template" if pretrained else "volume"]["fingerprint"]),
            patients=int(card["patients"]) if pretrained else int(origin.get("patients", 0)) + 1,
            history=history,
            versions=card["versions"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{folder / CARD} is damaged (no {e}); train the model again.") from e


def _kind(card: dict[str, Any]) -> str:
    if card["format"] == PRETRAINED:
        return "pretrained"
    if card["network"] is None:
        return "bank"
    return "finetuned" if card.get("origin") else "network"


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
