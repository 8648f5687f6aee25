"""What a registration found, and its file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["converged", "check", "failed"]
VERDICTS: tuple[Verdict, ...] = ("converged", "check", "failed")


@dataclass(frozen=True)
class Trust:
    """How far a pose can be trusted."""

    verdict: Verdict
    """"converged": as good as the method gets; "check": look at the overlay first; "failed": do not use it."""
    probability: float
    """That the mTRE is above 2 mm, as calibrated on X-rays with a known pose."""
    reason: str
    """Why, in one sentence."""
    weakest: str
    """The degree of freedom that the image says least about, with its 95 % interval."""


@dataclass(frozen=True, eq=False)
class PoseUncertainty:
    """What the image leaves open about a pose: true pose = increment(xi, pivot) @ pose, with xi ~ N(0, covariance)."""

    pivot: NDArray[np.float64]
    """(3,) RAS, mm."""
    covariance: NDArray[np.float64]
    """(6, 6) of xi = (v mm, w rad) in RAS axes, as far as the image tells."""
    scale: NDArray[np.float64]
    """(6, 6) what an unknown error of scale adds to it: in depth, and so that the image looks the same."""


@dataclass(frozen=True, eq=False)
class Start:
    """A hypothesis that the registration started from."""

    kind: str
    """Where it came from: "network", "bank", or the name that a given start has."""
    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, as proposed: the first of its kind."""
    cost: float
    """The lowest 1 - similarity of all hypotheses of its kind, after the coarse refinement."""


@dataclass(frozen=True, eq=False)
class Registration:
    """The pose of one X-ray in the volume's RAS space."""

    name: str
    """The X-ray's name."""
    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm."""
    intrinsics: Intrinsics
    similarity: float
    """Mean normalised cross-correlation of image and gradients over the finest stage's patches; 1 is perfect."""
    seconds: float
    starts: tuple[Start, ...] = ()
    winner: str = ""
    """Kind of the start that won."""
    versions: dict[str, str] = field(default_factory=dict)
    """Package -> version."""
    renders: int = 0
    """Images rendered for it."""
    uncertainty: PoseUncertainty | None = None
    trust: Trust | None = None
    evidence: dict[str, float] = field(default_factory=dict)
    """What the verdict rests on, by name."""
    response: dict[str, float] = field(default_factory=dict)
    """The detector's response as estimated, by name."""

    @property
    def verdict(self) -> str:
        """ "converged", "check" or "failed"; empty where nothing was said."""
        return self.trust.verdict if self.trust is not None else ""

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
            "renders": self.renders,
            "uncertainty": None
            if self.uncertainty is None
            else {
                "pivot": self.uncertainty.pivot.tolist(),
                "covariance": self.uncertainty.covariance.tolist(),
                "scale": self.uncertainty.scale.tolist(),
            },
            "trust": None if self.trust is None else dataclasses.asdict(self.trust),
            "evidence": self.evidence,
            "response": self.response,
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
            renders=int(d.get("renders", 0)),
            uncertainty=_uncertainty(d.get("uncertainty")),
            trust=None if d.get("trust") is None else Trust(**d["trust"]),
            evidence=dict(d.get("evidence", {})),
            response=dict(d.get("response", {})),
        )


def _uncertainty(d: dict[str, Any] | None) -> PoseUncertainty | None:
    if d is None:
        return None
    return PoseUncertainty(*(np.array(d[name], dtype=np.float64) for name in ("pivot", "covariance", "scale")))
