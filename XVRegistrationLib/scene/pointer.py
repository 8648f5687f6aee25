"""Where the user points, in whatever view, and bringing a point before the slice views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from XVRegistrationLib.scene.layout import XRAY_VIEW
from XVRegistrationLib.scene.overlays import VIEW_REFERENCE
from XVRegistrationLib.scene.xrays import all_xrays_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_CLASS = "vtkMRMLCrosshairNode"


@dataclass(frozen=True)
class Pointed:
    """A point that is pointed at."""

    point: tuple[float, float, float]
    """RAS mm; in a slice view, in its plane."""
    view_id: str
    """ID of the slice view's node; "" in 3D, and of the crosshair while the pointer is in no view."""


def pointed_at(scene: Any) -> Pointed | None:
    """What the pointer is at; where it is in no view, what the crosshair is at if that is shown; else None."""
    node = scene.GetFirstNodeByClass(_CLASS)
    if node is None:
        return None
    place = [0.0, 0.0, 0.0]
    if node.GetCursorPositionRAS(place):
        view = node.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        return Pointed(_point(place), "" if view is None else str(view.GetID()))
    if node.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.NoCrosshair:
        return None
    return Pointed(_point(node.GetCrosshairRAS()), "")


def jump_to(scene: Any, point: ArrayLike) -> None:
    """Bring a point (3,), RAS mm, into the middle of all slice views but those of X-rays, and the crosshair there."""
    place = [float(v) for v in np.asarray(point, dtype=np.float64)]
    node = scene.GetFirstNodeByClass(_CLASS)
    if node is not None:
        node.SetCrosshairRAS(place)
    of_xrays = {xray.GetNodeReferenceID(VIEW_REFERENCE) for xray in all_xrays_in(scene)}
    views = scene.GetNodesByClass("vtkMRMLSliceNode")
    views.UnRegister(None)  # the caller's reference, which Python does not count
    for view in (views.GetItemAsObject(i) for i in range(views.GetNumberOfItems())):
        if view.GetID() not in of_xrays and not (view.GetLayoutName() or "").startswith(XRAY_VIEW):
            view.JumpSliceByCentering(*place)


def _point(place: ArrayLike) -> tuple[float, float, float]:
    r, a, s = (float(v) for v in np.asarray(place, dtype=np.float64))
    return r, a, s
