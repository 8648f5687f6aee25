"""What the panel does, without any widget: usable from Slicer's Python console and from scripts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.i18n import tr as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.scene.registration import XrayNodes


@dataclass(frozen=True)
class Geometry:
    """How an X-ray was taken, as far as a user can say it: the principal point is the middle of the image."""

    sdd: float
    """Distance from the source to the detector, mm."""
    column_spacing: float
    """Distance between neighbouring columns on the detector, mm."""
    row_spacing: float
    """Distance between neighbouring rows on the detector, mm."""
    mirrored: bool
    dense_is_bright: bool


def stored_geometry(xray_node: Any) -> Geometry | None:
    """Geometry that an X-ray's volume node carries; None for a node that XVRegistration did not make."""
    from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale

    if xray_node is None:
        return None
    try:
        known = read_intrinsics(xray_node)
    except InputError:
        return None
    return Geometry(known.sdd, *known.spacing, known.mirrored, read_scale(xray_node) == "attenuation")


def guessed_geometry(xray_node: Any) -> Geometry:
    """A first guess for a node without geometry: its own spacing, a usual distance, and bone shown bright."""
    columns, rows, _slices = xray_node.GetSpacing()
    return Geometry(1000.0, columns, rows, mirrored=False, dense_is_bright=True)


def obstacle(xray_node: Any, model_folder: str) -> str:
    """What is still to be done before these can be registered, as a sentence for the user; empty if nothing is."""
    if xray_node is None:
        return _("Select an X-ray.")
    image = xray_node.GetImageData()
    if image is None or 0 in image.GetDimensions():
        return _("{name} has no pixels.").format(name=xray_node.GetName())
    slices = image.GetDimensions()[2]
    if slices != 1:
        return _("{name} has {count} slices; an X-ray has one.").format(name=xray_node.GetName(), count=slices)
    if not model_folder:
        return _("Choose the folder of the trained model.")
    if not Path(model_folder).is_dir():
        return _("There is no folder {folder}.").format(folder=model_folder)
    return ""


def xray_of(xray_node: Any, geometry: Geometry | None = None) -> Xray:
    """The X-ray of a one-slice volume node: with the geometry that the node carries, or else with the one given.

    Raises InputError if there is neither.
    """
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.scene.registration import xray_from_node
    from XVRegistrationLib.scene.volumes import voxels

    if geometry is None or stored_geometry(xray_node) is not None:
        return xray_from_node(xray_node)
    array = voxels(xray_node)
    if array.shape[0] != 1:
        raise InputError(f"{xray_node.GetName()} has {array.shape[0]} slices; choose an X-ray, which has one.")
    pixels = array[0].copy()
    intrinsics = Intrinsics.centered(
        geometry.sdd, (geometry.column_spacing, geometry.row_spacing), pixels.shape[::-1], geometry.mirrored
    )
    return Xray(
        name=xray_node.GetName(),
        pixels=pixels,
        intrinsics=intrinsics,
        scale="attenuation" if geometry.dense_is_bright else "intensity",
        origins={"sdd": "user", "spacing": "user", "principal_point": "assumed", "mirrored": "user"},
    )


def register_node(
    xray_node: Any,
    model_folder: str | Path,
    volume_node: Any = None,
    *,
    geometry: Geometry | None = None,
    name: str = "",
    progress: Callable[[str], None] | None = None,
) -> tuple[Registration, XrayNodes]:
    """Register the X-ray of a volume node with a trained model; return what was found and the nodes that show it.

    The volume is `volume_node`, or None for the one that the model refers to. An X-ray that already has a C-arm pose in
    the scene is moved; of any other node a copy under its pose is added, called `name` or like the node, and the node
    stays as it is. `progress` is told each step in a sentence.
    """
    from XVRegistrationLib.registration.model import load_model
    from XVRegistrationLib.registration.register import register_xray
    from XVRegistrationLib.scene.registration import add_xray, set_pose, xray_nodes_in
    from XVRegistrationLib.scene.volumes import volume_from_node

    say = progress or (lambda text: None)
    xray = xray_of(xray_node, geometry)
    if name:
        xray = dataclasses.replace(xray, name=name)
    say(_("Loading the model..."))
    model = load_model(Path(model_folder), volume=None if volume_node is None else volume_from_node(volume_node))
    say(_("Registering {name}...").format(name=xray.name))
    registration = register_xray(model, xray)
    scene = xray_node.GetScene()
    nodes = next((n for n in xray_nodes_in(scene) if n.xray is xray_node), None)
    if nodes is None:
        nodes = add_xray(scene, xray, registration.pose, volume_node=volume_node)
    else:
        set_pose(nodes, registration.pose)
    return registration, nodes
