"""The X-rays of the scene: reading them, completing their geometry, and which of them are to be registered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.partial import seen_as
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.dicom_source import dicom_file
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.attributes import PREFIX, read_known, read_missing, read_origins, read_scale, write_known
from XVRegistrationLib.scene.removal import remove_leftovers
from XVRegistrationLib.scene.results import forget_registration
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import (
    add_pending_xray,
    all_xrays_in,
    complete_xray,
    name_of,
    nodes_of,
    pose_from_node,
    refer_to_volume,
    set_pose,
    volume_node_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Scale
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.scene.xrays import XrayNodes

_CHECKED = PREFIX + "Checked"
_PLACED = PREFIX + "Placed"
"""Attribute of an X-ray whose pose is still the one it was given when it was added: "header" or "preset"."""
_PLACED_AT = PREFIX + "PlacedAt"
"""That pose, row by row: any other is somebody's work, also where nobody watched it being moved."""
_SAME = 1e-3
"""Entries of two poses differ by less, mm for the position, where these are the same."""


class Xrays:
    """The X-rays of the present volume, and those that belong to none yet."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self._seen: tuple[Any, ...] = ()
        self._place: tuple[Any, ...] = ()

    def nodes(self) -> list[Any]:
        """Image nodes, in the order in which they were added."""
        if self._context.scene.IsClosing():
            return []
        return [n for n in all_xrays_in(self._context.scene) if volume_node_of(n) in (None, self._patient.node)]

    def checked(self) -> list[Any]:
        return [node for node in self.nodes() if self.is_checked(node)]

    def camera(self) -> Intrinsics | None:
        """Geometry of the first checked X-ray that is complete; None if there is none."""
        found = (nodes_of(node) for node in self.checked())
        first = next((nodes for nodes in found if nodes is not None), None)
        return None if first is None else Intrinsics(*_fields(read_known(first.xray)))

    def tick(self) -> None:
        """Look whether the user removed or renamed an X-ray, or something that belongs to one."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        nodes = self.nodes()
        self._place_again(nodes)
        seen = tuple((node, node.GetName(), node.GetParentTransformNode()) for node in nodes)
        if seen == self._seen:
            return
        gone = any(not alive(self._context.scene, node) for node, _name, _pose in self._seen)
        self._seen = seen
        if gone:
            remove_leftovers(self._context.scene)
        if not self._context.scene.IsBatchProcessing():
            for node in nodes:
                self._mend(node)
        self._context.changed.emit("xrays")

    def forget(self) -> None:
        self._seen = ()
        self._place = ()
        self._context.changed.emit("xrays")

    # Adding

    def can_add(self) -> str:
        return "" if self._context.parameters is not None else _("There is no scene to add X-rays to.")

    def add_files(self, paths: Sequence[Path]) -> None:
        obstacle = self.can_add()
        if obstacle:
            raise InputError(obstacle)
        volume = self._patient.chosen
        for path in paths:
            self._context.say(_("Reading {name}...").format(name=path.name))
            read = partial(self._read, volume)
            self._context.ask("read_xray", read, path=str(path), sid=None, spacing=None, mirrored=None)

    def candidates(self) -> list[Any]:
        scene = self._context.scene
        count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        nodes = [scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(count)]
        return [
            node
            for node in nodes
            if _is_one_slice(node) and not name_of(node) and not node.GetAttribute(PREFIX + "Part")
        ]

    def add_nodes(self, nodes: Sequence[Any]) -> None:
        for node in nodes:
            if not _is_one_slice(node):
                raise InputError(_("{name} is not an X-ray: one grey image is needed.").format(name=node.GetName()))
            file = dicom_file(node)
            if file is not None:
                self.add_files([file])
                continue
            dx, dy, _dz = node.GetSpacing()
            known: dict[str, Any] = {"mirrored": False}
            origins = {"mirrored": "assumed", "scale": "assumed"}
            if not np.isclose([dx, dy], 1.0).all():  # what nobody has set
                known["spacing"], origins["spacing"] = (dx, dy), "tag"
            pixels = voxels(node)[0].copy()
            self._add(self._patient.chosen, node.GetName(), pixels, known, origins, "attenuation")

    def _read(self, volume: Any, message: Message) -> None:
        f = message.fields
        pixels = np.array(message.arrays["pixels"])
        self._add(volume, str(f["name"]), pixels, dict(f["known"]), dict(f["origins"]), f["scale"])

    def _add(
        self,
        volume: Any,
        name: str,
        pixels: NDArray[Any],
        known: dict[str, Any],
        origins: dict[str, str],
        scale: Scale,
    ) -> None:
        """Add an X-ray for the volume that was chosen when the user added it, which may be another than the present one."""
        missing = [field for field in ("sdd", "spacing") if known.get(field) is None]
        scene, parameters = self._context.scene, self._context.parameters
        volume = volume if alive(scene, volume) else None
        node = add_pending_xray(scene, name, pixels, known, origins, missing, scale, volume)
        if volume in (None, self._patient.node):  # else it is placed when its volume is chosen
            self.place(node)
        if parameters is not None and volume in (None, self._patient.chosen):
            shown = parameters.xray if alive(scene, parameters.xray) else None
            if shown is None or volume_node_of(shown) not in (None, volume):
                parameters.xray = node
        if missing:
            words = {"sdd": _("the distance source-detector"), "spacing": _("the pixel spacing")}
            lacking = _(" and ").join(words[field] for field in missing)
            self._context.say(_("{name} does not state {what}; enter it.").format(name=name_of(node), what=lacking))
        else:
            self._context.say(_("{name} was added.").format(name=name_of(node)))
        self._context.changed.emit("xrays")

    # Geometry and place

    def complete_geometry(
        self,
        node: Any,
        sdd: float | None,
        spacing: tuple[float, float] | None,
        mirrored: bool | None,
        dense_is_bright: bool | None,
    ) -> None:
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))
        for given, least, most, what in (
            (sdd, 100.0, 5000.0, _("The distance source-detector")),
            (None if spacing is None else spacing[0], 0.01, 10.0, _("The distance between columns")),
            (None if spacing is None else spacing[1], 0.01, 10.0, _("The distance between rows")),
        ):
            if given is not None and not least <= given <= most:
                raise InputError(
                    _("{what} must lie between {least} and {most} mm.").format(what=what, least=least, most=most)
                )
        known, origins = read_known(node), read_origins(node)
        given_values = {"sdd": sdd, "spacing": spacing, "mirrored": mirrored}
        changed = {field: value for field, value in given_values.items() if value is not None}
        scale: Scale = read_scale(node)
        if dense_is_bright is not None:
            scale, origins["scale"] = ("attenuation" if dense_is_bright else "intensity"), "user"
        if mirrored is not None:
            known = seen_as(known, mirrored)
        known.update(changed)
        origins.update(dict.fromkeys(changed, "user"))
        missing = [field for field in ("sdd", "spacing") if known.get(field) is None]
        if missing:
            write_known(node, known, origins, missing, scale)
        else:
            node.SetAttribute(PREFIX + "Missing", None)
            placed = nodes_of(node)
            pose = self.first_pose(node) if placed is None else (pose_from_node(placed.pose), None)
            self._complete(node, known, origins, pose, scale)
        self._context.changed.emit("xrays")

    def place(self, node: Any) -> XrayNodes | None:
        """The nodes of an X-ray, which gets a pose if it is complete and has none; None if it is incomplete."""
        nodes = nodes_of(node)
        known = read_known(node)
        if nodes is not None or read_missing(node) or known.get("sdd") is None or known.get("spacing") is None:
            return nodes
        return self._complete(node, known, read_origins(node), self.first_pose(node), read_scale(node))

    def _place_again(self, nodes: Sequence[Any]) -> None:
        """Put X-rays that were neither registered nor moved where they belong by a new volume or preset."""
        if not self._patient.ready:
            return
        place = (self._patient.key, self._patient.preset.name)
        if place == self._place:
            return
        self._place = place
        for node in nodes:
            placed = nodes_of(node)
            if placed is not None and self.is_first_placed(node):
                if volume_node_of(node) is None:
                    refer_to_volume(node, self._patient.node)
                pose, by = self.first_pose(node)
                try:
                    set_pose(placed, pose)
                except InputError:
                    continue  # the user put its C-arm under a transform that cannot be undone
                _note_place(node, pose, by)

    def _mend(self, node: Any) -> None:
        """An X-ray whose pose the user deleted counts as not registered, and gets one as if it were new."""
        if nodes_of(node) is None and not read_missing(node):
            forget_registration(node)
            self.place(node)

    def is_first_placed(self, node: Any) -> bool:
        """Whether an X-ray has been neither registered nor moved since it was placed."""
        if not node.GetAttribute(_PLACED):
            return False
        text = node.GetAttribute(_PLACED_AT)
        if text is None:
            return True
        try:
            return np.allclose(pose_from_node(node).ravel(), [float(v) for v in text.split()], atol=_SAME)
        except (InputError, ValueError):
            return False

    def moved(self, node: Any) -> None:
        """Note that an X-ray stands where a registration or the user put it."""
        node.SetAttribute(_PLACED, None)
        node.SetAttribute(_PLACED_AT, None)

    def header_pose(self, node: Any) -> NDArray[np.float64] | None:
        """(4, 4) camera -> RAS, mm, by the C-arm's angles about the volume's centre; None where they are not known."""
        return header_pose(read_known(node), self._patient.center, self._patient.preset.sod)

    def first_pose(self, node: Any) -> tuple[NDArray[np.float64], str]:
        """Where an X-ray is put until it is registered, and by what: "header" or "preset"."""
        pose = self.header_pose(node)
        return (self._patient.nominal_pose, "preset") if pose is None else (pose, "header")

    def _complete(
        self,
        node: Any,
        known: dict[str, Any],
        origins: dict[str, str],
        placed: tuple[NDArray[np.float64], str | None],
        scale: Scale,
    ) -> XrayNodes:
        height, width = voxels(node).shape[1:]
        if known.get("principal_point") is None:
            known["principal_point"] = ((width - 1) / 2, (height - 1) / 2)
            origins["principal_point"] = "assumed"
        known.setdefault("mirrored", False)
        known["size"] = (width, height)
        pose, by = placed
        nodes = complete_xray(self._context.scene, node, Intrinsics(*_fields(known)), origins, pose, scale=scale)
        if by is not None:
            _note_place(node, pose, by)
        return nodes

    # The check mark

    def is_checked(self, node: Any) -> bool:
        return node.GetAttribute(_CHECKED) != "false"

    def set_checked(self, node: Any, checked: bool) -> None:
        if self.is_checked(node) != checked:
            node.SetAttribute(_CHECKED, None if checked else "false")
            self._context.changed.emit("xrays")


def _fields(known: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of `Intrinsics`."""
    return (
        float(known["sdd"]),
        tuple(known["spacing"]),
        tuple(known["principal_point"]),
        tuple(known["size"]),
        bool(known["mirrored"]),
    )


def _note_place(node: Any, pose: NDArray[np.float64], by: str) -> None:
    """Keep where an X-ray was put until it is registered, and by what."""
    node.SetAttribute(_PLACED, by)
    node.SetAttribute(_PLACED_AT, " ".join(repr(float(v)) for v in pose.ravel()))


def _is_one_slice(node: Any) -> bool:
    image = node.GetImageData()
    return image is not None and image.GetNumberOfScalarComponents() == 1 and image.GetDimensions()[2] == 1
