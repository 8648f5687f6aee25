"""Anatomies and views to start from."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.resources import resource

_DETECTOR_PIXELS = 512
_DETECTOR_SPACING = 0.76
"""mm: with the pixels above, a flat detector of 39 cm."""


@dataclass(frozen=True)
class Preset:
    """A usual way of taking an X-ray of a part of the body."""

    name: str
    title: str
    """For people."""
    view: str
    """AP, PA, LLAT or RLAT."""
    rotation: tuple[float, float, float]
    """How far the C-arm may be turned from the view, degrees about the camera's x, y, z."""
    translation: tuple[float, float, float]
    """How far from the volume's centre the isocentre may lie, mm along the camera's x, y, z."""
    sid: float
    """Distance source-detector where an X-ray does not tell, mm."""
    sod: float
    """Distance source-isocentre, mm."""

    @property
    def intrinsics(self) -> Intrinsics:
        """A usual detector at `sid`, for a bank before the first X-ray is there; shown as the view is by convention."""
        size = (_DETECTOR_PIXELS, _DETECTOR_PIXELS)
        return Intrinsics.centered(self.sid, (_DETECTOR_SPACING, _DETECTOR_SPACING), size, self.view == "PA")


@functools.cache
def load_presets() -> dict[str, Preset]:
    """All presets by name, in the order in which they are offered."""
    rows = json.loads(resource("presets.json").read_text(encoding="utf-8"))["presets"]
    presets = [
        Preset(
            str(row["name"]),
            str(row["title"]),
            str(row["view"]),
            _three(row["rotation"]),
            _three(row["translation"]),
            float(row["sid"]),
            float(row["sod"]),
        )
        for row in rows
    ]
    return {preset.name: preset for preset in presets}


def preset_named(name: str) -> Preset:
    """The preset of this name; InputError if there is none."""
    presets = load_presets()
    if name not in presets:
        raise InputError(f"There is no anatomy preset {name!r}; choose one of {', '.join(presets)}.")
    return presets[name]


def _three(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)
