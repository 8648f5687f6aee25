"""What the engine does with several X-rays of one patient at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.hypotheses import SOURCES, with_shifted
from XVRegistrationLib.registration.several import register_views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_server import Answer, Request
    from XVRegistrationLib.registration.model import PatientModel


def register_together(model: PatientModel, request: Request) -> Answer:
    """One pose for all X-rays of the list `views`, as `register_views`: each one's result in `views` of the answer.

    Each view has a `name`, `intrinsics` and `scale`; its pixels are the array "pixels 0" and so on, with "mask 0". The
    poses in `starts` are the first camera's; those named in `by_angles` are tried shifted onto its X-ray as well.
    """
    f, arrays = request.fields, request.arrays
    xrays = [_xray(view, arrays[f"pixels {i}"], arrays.get(f"mask {i}")) for i, view in enumerate(f["views"])]

    def progress(level: int, levels: int, similarity: float) -> None:
        request.progress(level=level, levels=levels, similarity=similarity)

    starts = with_shifted(model, xrays[0], f.get("starts") or {}, f.get("by_angles", ()))
    sources, geometry = f.get("sources", SOURCES), bool(f.get("geometry"))
    found = register_views(model, xrays, f["relative"], sources, starts, progress, geometry=geometry)
    return {"views": [view.to_dict() for view in found.views]}, {}


def _xray(view: dict[str, Any], pixels: NDArray[Any], mask: NDArray[Any] | None) -> Xray:
    intrinsics = Intrinsics.from_dict(view["intrinsics"])
    return Xray(view["name"], pixels, intrinsics, view["scale"], mask=None if mask is None else mask.astype(np.bool_))
