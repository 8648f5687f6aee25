"""X-rays: pixels with the geometry they were taken in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

Scale = Literal["intensity", "attenuation"]
BRIGHT: dict[str, Scale] = {"radiation": "intensity", "dense": "attenuation"}
"""What a user says that bright pixels are -> the scale of an `Xray`."""


@dataclass(frozen=True, eq=False)
class Xray:
    """An X-ray as it is stored, with everything needed to compare it with a rendered one."""

    name: str
    """Names the result files: the file's name, never the patient's."""
    pixels: NDArray[Any]
    """(H, W) grey values after the modality transform, row by row as displayed."""
    intrinsics: Intrinsics
    scale: Scale = "intensity"
    """"intensity": brighter means more radiation reached the detector; "attenuation": brighter means denser."""
    path: str | None = None
    origins: dict[str, str] = field(default_factory=dict)
    """Where each geometric value came from: field of `Intrinsics` -> "tag", "derived", "assumed" or "user"."""

    mask: NDArray[np.bool_] | None = None
    """(H, W) pixels that count, as far as the file says; None: all."""

    def __post_init__(self) -> None:
        if self.pixels.shape != self.intrinsics.size[::-1]:
            raise ValueError(
                f"{self.name}: {self.pixels.shape} pixels do not fit the geometry's {self.intrinsics.size}."
            )
