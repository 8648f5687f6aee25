"""A render as a step of torch's automatic differentiation: for losses that this project does not differentiate by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from XVRegistrationLib.geometry.rigid import skew
from XVRegistrationLib.rendering.render import render_with_jacobian

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid


def differentiable_render(
    grid: DensityGrid, pose: torch.Tensor, intrinsics: Intrinsics, pivot: ArrayLike, step: float | None = None
) -> torch.Tensor:
    """Line integrals (H, W) float32, on the CPU, of a pose (4, 4) float64 that gradients flow back to: one render.

    The gradient is right for every way in which the pose can move while it stays rigid. `pivot` (3,), RAS mm, is where
    the renderer's derivatives are taken; it changes nothing but their rounding.
    """
    image: torch.Tensor = _Render.apply(pose, grid, intrinsics, pivot, step)
    return image


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pose: torch.Tensor, grid: DensityGrid, intrinsics: Intrinsics, pivot: ArrayLike, step: float | None
    ) -> torch.Tensor:
        image, jacobian = render_with_jacobian(grid, pose.detach().numpy()[None], intrinsics, pivot, step)
        ctx.save_for_backward(pose.detach(), jacobian[0].cpu(), torch.as_tensor(pivot, dtype=pose.dtype))
        return image[0].cpu()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradient by the twelve entries of a pose [R | t] that agrees with the one by xi = (v, w) on rigid motions.

        The increment about c moves the pose by [[w]R | [w](t - c) + v], where [.] is the cross-product matrix. With
        g = (gv, gw) the gradient by xi, Gt = gv and GR = [h]R / 2 with h = gw - (t - c) x gv give g'xi for all of them.
        """
        pose, jacobian, pivot = ctx.saved_tensors
        by_xi = jacobian.to(pose.dtype).flatten(1) @ gradient.to(pose.dtype).flatten()
        turn = by_xi[3:] - torch.linalg.cross(pose[:3, 3] - pivot, by_xi[:3])
        by_pose = torch.zeros_like(pose)
        by_pose[:3, :3] = torch.from_numpy(skew(turn.numpy())).to(pose.dtype) @ pose[:3, :3] / 2
        by_pose[:3, 3] = by_xi[:3]
        return by_pose, None, None, None, None
