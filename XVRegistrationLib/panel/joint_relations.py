"""How the cameras of several X-rays stand to each other: by a calibration, by the C-arm's angles, or as they were registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import RelationChoice
from XVRegistrationLib.scene.pairs import calibrated_pose
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.xrays import Xrays

CALIBRATION, HEADER, REGISTERED = "calibration", "header", "registered"
RELATIONS = (CALIBRATION, HEADER, REGISTERED)
"""The surest first."""


def choices(xrays: Xrays, nodes: Sequence[Any]) -> list[RelationChoice]:
    """The ways to know the relation of some X-rays' cameras, and why one is not possible for them."""
    said = {
        CALIBRATION: (
            _("Calibration files"),
            _("As the calibration files say where the cameras stood."),
            _("No calibration file says where the camera of {names} stood."),
        ),
        HEADER: (
            _("C-arm angles of the files"),
            _(
                "As the angles and distances of the files say, about one isocentre, with the patient at rest between them."
            ),
            _("The files do not say the C-arm's angles of {names}."),
        ),
        REGISTERED: (
            _("Registered poses"),
            _("As the X-rays were registered one by one."),
            _("Not registered where it stands: {names}."),
        ),
    }
    found = []
    for way in RELATIONS:
        title, purpose, lacking = said[way]
        names = ", ".join(name_of(node) for node in nodes if _pose(xrays, node, way) is None)
        found.append(RelationChoice(way, title, purpose, lacking.format(names=names) if names else ""))
    return found


def chosen_of(offered: Sequence[RelationChoice], wanted: str) -> RelationChoice:
    """The way that is wanted; with "", the surest that is possible, else the first."""
    if wanted:
        return next((choice for choice in offered if choice.name == wanted), offered[0])
    return next((choice for choice in offered if not choice.obstacle), offered[0])


def relations(xrays: Xrays, nodes: Sequence[Any], way: str) -> list[NDArray[np.float64]]:
    """Where each camera is with respect to the first, (4, 4): pose of each = pose of the first @ its relation."""
    poses = [_pose(xrays, node, way) for node in nodes]
    known = [pose for pose in poses if pose is not None]
    if len(known) != len(poses):
        raise InputError(next(choice.obstacle for choice in choices(xrays, nodes) if choice.name == way))
    return [invert(known[0]) @ pose for pose in known]


def _pose(xrays: Xrays, node: Any, way: str) -> NDArray[np.float64] | None:
    """Where a camera stood, (4, 4), in a world that all X-rays share; None where it is not known in this way."""
    if way == CALIBRATION:
        return calibrated_pose(node)
    if way == HEADER:
        return xrays.header_pose(node)
    found = registration_that_holds(node)
    return None if found is None else found.pose
