"""What a registration found, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Start:
    """A hypothesis that the registration started from."""

    kind: str
    """Where it came from: "network", "bank", or the name that a given start has."""
    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS."""
    cost: float
    """1 - similarity after the coarse refinement; the lowest goes on."""


@dataclass(frozen=True, eq=False)
class Registration:
    """The pose of one X-ray in the volume's RAS space."""

    name: str
    """The X-ray's name."""
    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm."""
    intrinsics: Intrinsics
    similarity: float
    """Mean of image and gradient normalised cross-correlation at the finest level; 1 is perfect."""
    seconds: float
    starts: tuple[Start, ...] = ()
    winner: str = ""
    """Kind of the start that won."""
    versions: dict[str, str] = field(default_factory=dict)
    """Package -> version."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `from_dict` is its inverse."""
        return {
            "name": self.name,
            "pose": self.pose.tolist(),
            "pose_convention": "camera -> RAS, mm; camera: x along columns, y along rows, z towards the detector",
            "intrinsics": self.intrinsics.to_dict(),
            "similarity": self.similarity,
            "seconds": self.seconds,
            "winner": self.winner,
            "starts": [{"kind": s.kind, "pose": s.pose.tolist(), "cost": s.cost} for s in self.starts],
            "versions": self.versions,
        }

    @staticmethod
    def from_dict(d: dict[str, Any]) -> Registration:
        """Inverse of `to_dict`; raises ValueError for a pose that is not rigid."""
        return Registration(
            name=str(d["name"]),
            pose=check_rigid(d["pose"]),
            intrinsics=Intrinsics.from_dict(d["intrinsics"]),
            similarity=float(d["similarity"]),
            seconds=float(d["seconds"]),
            starts=tuple(Start(s["kind"], check_rigid(s["pose"]), float(s["cost"])) for s in d.get("starts", [])),
            winner=str(d.get("winner", "")),
            versions=dict(d.get("versions", {})),
        )
