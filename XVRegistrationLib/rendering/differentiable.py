"""Renders as a step of torch's automatic differentiation: for losses that this project does not differentiate by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.rendering.adjoint import back_project
from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import fine_step, render, render_with_jacobian

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from XVRegistrationLib.geometry.camera import Intrinsics


def differentiable_render(
    grid: DensityGrid,
    poses: torch.Tensor,
    intrinsics: Intrinsics,
    pivot: ArrayLike,
    step: float | None = None,
    camera: torch.Tensor | None = None,
) -> torch.Tensor:
    """Line integrals (B, H, W) float32 of poses (B, 4, 4), on the poses' device, through which gradients flow.

    They flow to the poses, right for every way in which these can move while they stay rigid; to `camera` (3,), the
    distance source-detector in mm and the principal point (column, row) in px, which then replace those of
    `intrinsics`; and to `grid.data` where these are densities and not codes, wherever these ask for them. One render, whatever is asked for; the densities cost
    one back-projection more. Gradients of gradients are refused. `pivot` (3,), RAS mm, is where the renderer's
    derivatives by the pose are taken; it changes nothing but their rounding.
    """
    if camera is None:
        camera = camera_parameters(intrinsics)
    images: torch.Tensor = _Render.apply(poses, camera, grid.data, grid, intrinsics, pivot, step)
    return images


def camera_parameters(intrinsics: Intrinsics) -> torch.Tensor:
    """What gradients by the camera are taken of, (3,) float64: distance source-detector, mm, and principal point, px."""
    return torch.tensor([intrinsics.sdd, *intrinsics.principal_point], dtype=torch.float64)


def intrinsics_jacobian(
    jacobian: torch.Tensor, poses: ArrayLike, intrinsics: Intrinsics, pivot: ArrayLike
) -> torch.Tensor:
    """Derivatives (B, 3, H, W) by `camera_parameters`, per mm and per px, of images with the pose's `jacobian` (B, 6, H, W).

    Another camera turns each ray about the source, and that the derivatives by the pose know already: a turn w about the
    source s is one about the pivot c with the shift w x (c - s), and changes the pixel by T'w, T = dA/dw + (c - s) x
    dA/dv. A ray that aims at q from the source, with the direction e = q / |q|, is turned by w = e x dq / |q| where its
    aim moves by dq; so dA/dq = T x e / |q|.
    """
    t = torch.as_tensor(np.asarray(poses), dtype=torch.float64, device=jacobian.device)
    aim = _aims(intrinsics).to(jacobian.device)  # (H, W, 3)
    length = aim.norm(dim=-1)
    e = torch.einsum("bij,hwj->bihw", t[:, :3, :3], aim / length[..., None])
    by_shift, by_turn = jacobian.double().split(3, dim=1)
    c = torch.as_tensor(np.asarray(pivot), dtype=torch.float64, device=jacobian.device)
    arm = (c - t[:, :3, 3])[:, :, None, None].expand_as(by_shift)
    turn = by_turn + torch.linalg.cross(arm, by_shift, dim=1)
    by_aim = torch.einsum("bji,bjhw->bihw", t[:, :3, :3], torch.linalg.cross(turn, e, dim=1) / length)
    dx, dy = intrinsics.spacing
    return torch.stack([by_aim[:, 2], -dx * by_aim[:, 0], -dy * by_aim[:, 1]], dim=1)


def _aims(intrinsics: Intrinsics) -> torch.Tensor:
    """(H, W, 3) where the rays of stored pixels hit the detector, in the camera frame, mm."""
    width, height = intrinsics.size
    j, i = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ij1 = torch.stack([i, j, torch.ones_like(i)], dim=-1).double()
    return ij1 @ torch.from_numpy(image_to_camera(intrinsics)[:3][:, [0, 1, 3]]).T


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        poses: torch.Tensor,
        camera: torch.Tensor,
        data: torch.Tensor,
        grid: DensityGrid,
        intrinsics: Intrinsics,
        pivot: ArrayLike,
        step: float | None,
    ) -> torch.Tensor:
        sdd, cx, cy = camera.detach().cpu().tolist()
        ctx.camera = dataclasses.replace(intrinsics, sdd=sdd, principal_point=(cx, cy))
        # Densities that are learnt change in place, and with them their codes.
        ctx.grid = DensityGrid(data.detach(), grid.grid_to_ras) if grid.data.requires_grad else grid
        ctx.step, ctx.pivot = fine_step(grid) if step is None else step, np.asarray(pivot, dtype=np.float64)
        matrices = poses.detach().cpu().numpy()
        if any(ctx.needs_input_grad[:2]):
            images, jacobian = render_with_jacobian(ctx.grid, matrices, ctx.camera, ctx.pivot, ctx.step)
        else:
            images = render(ctx.grid, matrices, ctx.camera, ctx.step)
            jacobian = images.new_empty(0)
        ctx.save_for_backward(poses.detach(), camera.detach(), jacobian)
        return images.to(poses.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        poses, camera, jacobian = ctx.saved_tensors
        by_pose = by_camera = by_density = None
        g = gradient.to(ctx.grid.data.device)
        if ctx.needs_input_grad[0]:
            by_xi = torch.einsum("bkhw,bhw->bk", jacobian.to(poses.dtype), g.to(poses.dtype)).to(poses.device)
            by_pose = _by_matrix(by_xi, poses, torch.as_tensor(ctx.pivot).to(poses))
        if ctx.needs_input_grad[1]:
            per_pixel = intrinsics_jacobian(jacobian, poses.cpu().numpy(), ctx.camera, ctx.pivot)
            by_camera = torch.einsum("bkhw,bhw->k", per_pixel, g.double()).to(camera)
        if ctx.needs_input_grad[2]:
            rays = rays_of(ctx.grid, poses.cpu().numpy(), ctx.camera)
            by_density = back_project(ctx.grid, rays, ctx.step, g)
        return by_pose, by_camera, by_density, None, None, None, None


def _by_matrix(by_xi: torch.Tensor, poses: torch.Tensor, pivot: torch.Tensor) -> torch.Tensor:
    """Gradient (B, 4, 4) by the twelve entries of poses [R | t] that agrees with the one by xi = (v, w) on rigid motions.

    The increment about c moves the pose by [[w]R | [w](t - c) + v], where [.] is the cross-product matrix. With
    g = (gv, gw) the gradient by xi, Gt = gv and GR = [h]R / 2 with h = gw - (t - c) x gv give g'xi for all of them.
    """
    rotation, place = poses[:, :3, :3], poses[:, :3, 3]
    turn = by_xi[:, 3:] - torch.linalg.cross(place - pivot, by_xi[:, :3])
    by_pose = torch.zeros_like(poses)
    # The columns of [h]R are h x R's.
    by_pose[:, :3, :3] = torch.linalg.cross(turn[:, :, None].expand_as(rotation), rotation, dim=1) / 2
    by_pose[:, :3, 3] = by_xi[:, :3]
    return by_pose
