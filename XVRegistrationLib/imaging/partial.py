"""An X-ray as its file states it: pixels, and as much of the geometry as there is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.xray import Scale, Xray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

NEEDED = ("sdd", "spacing")
"""What an X-ray cannot be placed without; the rest can be assumed."""


@dataclass(frozen=True, eq=False)
class PartialXray:
    """An X-ray of which some of the geometry may be missing."""

    name: str
    pixels: NDArray[Any]
    """(H, W) grey values, as in `Xray`."""
    scale: Scale
    path: str
    mirrored: bool
    sdd: float | None = None
    """Distance from the source to the detector, mm."""
    spacing: tuple[float, float] | None = None
    """Along columns and rows on the detector, mm."""
    primary_angle: float | None = None
    """The C-arm's, degrees: towards the patient's left (LAO) is positive."""
    secondary_angle: float | None = None
    """The C-arm's, degrees: towards the patient's head (CRA) is positive."""
    principal_point: tuple[float, float] | None = None
    """In camera columns and rows, as `Intrinsics`, px; None: not stated, and assumed to be the image's middle."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) pixels that count, as far as the file says (shutters, padding, burned-in text); None: all."""
    frame: int | None = None
    """Which frame of a run this is, counted from 0; None for an image that is no run."""
    frames: int = 1
    """So many the file holds."""
    rotation: int | None = None
    """The image was turned clockwise by 0, 90, 180 or 270 degrees from one whose rows run towards the feet."""
    sod: float | None = None
    """Distance from the source to the isocentre, as far as the file says (DICOM: to the patient), mm."""
    origins: dict[str, str] = field(default_factory=dict)
    """Where each known value came from: "tag", "derived", "assumed" or "user"."""
    absent: dict[str, str] = field(default_factory=dict)
    """For each value that is needed and missing, what the file should have stated."""
    notes: tuple[str, ...] = ()
    """Sentences on what was understood, ignored, or contradicts something else."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image, px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def missing(self) -> list[str]:
        """Names of the values that are needed and not known."""
        return [name for name in NEEDED if getattr(self, name) is None]

    @property
    def known(self) -> dict[str, Any]:
        """What is known of the geometry, by name, as JSON-serialisable values in mm, degrees and px."""
        width, height = self.size
        values = {
            "sdd": self.sdd,
            "spacing": None if self.spacing is None else list(self.spacing),
            "principal_point": list(self.principal_point or ((width - 1) / 2, (height - 1) / 2)),
            "mirrored": self.mirrored,
            "primary_angle": self.primary_angle,
            "secondary_angle": self.secondary_angle,
            "rotation": self.rotation,
            "sod": self.sod,
        }
        return {name: value for name, value in values.items() if value is not None}

    def shown(self, mirrored: bool, origin: str) -> PartialXray:
        """The same stored image, said to be mirrored or not; the principal point stays at its stored pixel."""
        point = seen_as({**vars(self), "size": self.size}, mirrored)["principal_point"]
        origins = {**self.origins, "mirrored": origin}
        return dataclasses.replace(self, mirrored=mirrored, principal_point=point, origins=origins)

    def complete(self) -> Xray:
        """The X-ray, where nothing is missing."""
        if self.sdd is None or self.spacing is None:
            raise InputError(f"The geometry of {self.name} is not complete: {' and '.join(self.missing)} missing.")
        in_xray = ("sdd", "spacing", "principal_point", "size", "mirrored", "scale")
        return Xray(
            name=self.name,
            pixels=self.pixels,
            intrinsics=self._intrinsics(self.sdd, self.spacing),
            scale=self.scale,
            path=self.path,
            origins={name: self.origins[name] for name in in_xray},
            mask=self.mask,
        )

    def _intrinsics(self, sdd: float, spacing: tuple[float, float]) -> Intrinsics:
        if self.principal_point is None:
            return Intrinsics.centered(sdd, spacing, self.size, self.mirrored)
        return Intrinsics(sdd, spacing, self.principal_point, self.size, self.mirrored)


def seen_as(known: Mapping[str, Any], mirrored: bool) -> dict[str, Any]:
    """What is known of an X-ray (`PartialXray.known`, with its `size`), said to be mirrored or not.

    The principal point is in camera columns: it changes so that it stays at its stored pixel.
    """
    changed = {**known, "mirrored": mirrored}
    point, size = known.get("principal_point"), known.get("size")
    if point is not None and size is not None and mirrored != bool(known.get("mirrored")):
        changed["principal_point"] = (size[0] - 1 - point[0], point[1])
    return changed


def arguments_for(missing: Sequence[str]) -> list[str]:
    """The arguments of `read_xray` that say what is `PartialXray.missing`."""
    return ["sid" if name == "sdd" else name for name in missing]


def mirrored_origin(mirrored: bool | None) -> str:
    """Where the mirroring came from: only that an image is mirrored is something that a user says."""
    return "user" if mirrored else "assumed"


def user_distance(sid: float) -> float:
    """The distance source-detector that a user gave, mm; InputError unless it is positive."""
    if not (np.isfinite(sid) and sid > 0):
        raise InputError(
            f"The distance from source to detector must be a positive number of mm, not {sid}.", give=("sid",)
        )
    return float(sid)


def user_spacing(spacing: float | tuple[float, float]) -> tuple[float, float]:
    """The pixel spacing that a user gave as (dx, dy), mm; InputError unless it is positive."""
    values = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (2,))
    if not (np.isfinite(values).all() and values.min() > 0):
        raise InputError(
            f"The pixel spacing must be one or two positive numbers of mm, not {spacing}.", give=("spacing",)
        )
    return float(values[0]), float(values[1])
