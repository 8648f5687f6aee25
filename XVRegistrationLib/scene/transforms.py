"""Where MRML nodes are in the world: linear transform chains as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_world(transform_node: Any, what: str) -> NDArray[np.float64]:
    """Matrix (4, 4), mm, from a transform node's space to the world; identity for None.

    Raises InputError, naming `what` is transformed, if a transform on the way is not linear.
    """
    if transform_node is None:
        return np.eye(4)
    if not transform_node.IsTransformToWorldLinear():
        raise InputError(
            f"{what} is under a transform that is not linear; harden that transform, or take the node out of it."
        )
    matrix = vtk.vtkMatrix4x4()
    transform_node.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def ijk_to_world(volume_node: Any) -> NDArray[np.float64]:
    """Matrix (4, 4), mm, from voxel indices (i, j, k) to the world, with the volume's parent transforms applied."""
    parent = to_world(volume_node.GetParentTransformNode(), f"The volume {volume_node.GetName()}")
    return parent @ ijk_to_parent(volume_node)


def ijk_to_parent(volume_node: Any) -> NDArray[np.float64]:
    """Matrix (4, 4), mm, from voxel indices (i, j, k) to the space that the volume's transform takes to the world."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    found: NDArray[np.float64] = slicer.util.arrayFromVTKMatrix(matrix)
    return found


def show_image_upright(slice_node: Any, image_node: Any, size: tuple[int, int]) -> None:
    """Turn a slice view of `size` (width, height), px, so that a one-slice volume fills it as its file shows it.

    Columns run to the right and rows down whatever the pose, and a mirrored image stays mirrored.
    """
    ijk = ijk_to_world(image_node)
    columns, rows, _ = image_node.GetImageData().GetDimensions()
    width, height = columns * np.linalg.norm(ijk[:3, 0]), rows * np.linalg.norm(ijk[:3, 1])
    mm_per_pixel = max(width / size[0], height / size[1])
    was_modifying = slice_node.StartModify()
    center_on_image(slice_node, image_node, ((columns - 1) / 2, (rows - 1) / 2))
    slice_node.SetFieldOfView(size[0] * mm_per_pixel, size[1] * mm_per_pixel, 1.0)
    slice_node.EndModify(was_modifying)


def center_on_image(slice_node: Any, image_node: Any, pixel: tuple[float, float]) -> None:
    """Put a slice view upright on a one-slice volume with this (column, row) in its middle; its zoom stays."""
    ijk = ijk_to_world(image_node)
    slice_to_ras = np.eye(4)
    slice_to_ras[:3, 0] = ijk[:3, 0] / np.linalg.norm(ijk[:3, 0])
    slice_to_ras[:3, 1] = -ijk[:3, 1] / np.linalg.norm(ijk[:3, 1])
    slice_to_ras[:3, 2] = np.cross(slice_to_ras[:3, 0], slice_to_ras[:3, 1])
    slice_to_ras[:, 3] = ijk @ [*pixel, 0, 1]
    was_modifying = slice_node.StartModify()
    slice_node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(slice_to_ras))
    slice_node.UpdateMatrices()
    slice_node.EndModify(was_modifying)
