"""The X-rays of the scene: which there are, where they are put, and which of them are to be registered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.xray_files import XrayFiles
from XVRegistrationLib.scene.attributes import (
    PREFIX,
    read_intrinsics,
    read_known,
    read_missing,
)
from XVRegistrationLib.scene.ignored import rois_of
from XVRegistrationLib.scene.placing import is_first_placed, missing_of, note_moved, place, place_again
from XVRegistrationLib.scene.removal import remove_leftovers
from XVRegistrationLib.scene.results import forget_registration
from XVRegistrationLib.scene.runs import item_of, share, show_item
from XVRegistrationLib.scene.xrays import (
    all_xrays_in,
    name_of,
    nodes_of,
    refer_to_volume,
    volume_node_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.scene.xrays import XrayNodes

_CHECKED = PREFIX + "Checked"
_UNSET = 1e-5
"""A spacing of one millimetre to within this is what other readers put where they found none, as Slicer does for CR."""


class Xrays:
    """The X-rays of the present volume, and those that belong to none yet."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self.files = XrayFiles(context)
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
        return None if first is None else read_intrinsics(first.xray)

    def tick(self) -> None:
        """Look whether the user removed or renamed an X-ray, or something that belongs to one."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        nodes = self.nodes()
        self._place_again(nodes)
        seen = tuple(
            (node, node.GetName(), node.GetParentTransformNode(), item_of(node), len(rois_of(node))) for node in nodes
        )
        if seen == self._seen:
            return
        gone = any(not alive(self._context.scene, node) for node, *_rest in self._seen)
        self._seen = seen
        if gone:
            remove_leftovers(self._context.scene)
        if not self._context.scene.IsBatchProcessing():
            for node in nodes:
                self._mend(node)
        self._context.changed.emit("xrays")

    def forget(self) -> None:
        self.files.forget()
        self._seen = ()
        self._place = ()
        self._context.changed.emit("xrays")

    # Frames

    def show_frame(self, node: Any, item: int) -> None:
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))
        show_item(node, item)
        self._context.changed.emit("xrays")

    # Place

    def place(self, node: Any) -> XrayNodes | None:
        """The nodes of an X-ray, which gets a pose if it is complete and has none; None if it is incomplete."""
        nodes = nodes_of(node)
        if nodes is not None or read_missing(node) or missing_of(read_known(node)):
            return nodes
        return place(self._context.scene, node, self.first_pose)

    def _place_again(self, nodes: Sequence[Any]) -> None:
        """Put X-rays that were neither registered nor moved where they belong by a new volume or preset.

        So are those that somebody else added since, Slicer's DICOM module for one.
        """
        if not self._patient.ready:
            return
        now = (self._patient.key, self._patient.preset.name)
        again = [node for node in nodes if now != self._place or volume_node_of(node) is None]
        self._place = now
        for node in again:
            if nodes_of(node) is not None and self.is_first_placed(node):
                if volume_node_of(node) is None:
                    refer_to_volume(node, self._patient.node)
                # The user may have put its C-arm under a transform that cannot be undone.
                with contextlib.suppress(InputError):
                    place_again(node, self.first_pose)

    def _mend(self, node: Any) -> None:
        """An X-ray whose pose the user deleted counts as not registered, and gets one as if it were new."""
        if nodes_of(node) is None and not read_missing(node):
            forget_registration(node)
            # The volume may be under a transform that cannot be undone, as the patient's part says.
            with contextlib.suppress(InputError):
                self.place(node)

    def is_first_placed(self, node: Any) -> bool:
        """Whether an X-ray has been neither registered nor moved since it was placed."""
        return is_first_placed(node)

    def moved(self, node: Any) -> None:
        """Note that an X-ray stands where a registration or the user put it."""
        note_moved(node)

    def header_pose(self, node: Any) -> NDArray[np.float64] | None:
        """(4, 4) camera -> RAS, mm, by the C-arm's angles about the volume's centre; None where they are not known."""
        return header_pose(read_known(node), self._patient.center, self._patient.preset.sod)

    def first_pose(self, node: Any) -> tuple[NDArray[np.float64], str]:
        """Where an X-ray is put until it is registered, and by what: "header" or "preset"."""
        pose = self.header_pose(node)
        return (self._patient.nominal_pose, "preset") if pose is None else (pose, "header")

    # The check mark

    def is_checked(self, node: Any) -> bool:
        return node.GetAttribute(_CHECKED) != "false"

    def set_checked(self, node: Any, checked: bool) -> None:
        if self.is_checked(node) != checked:
            node.SetAttribute(_CHECKED, None if checked else "false")
            share(node, _CHECKED)
            self._context.changed.emit("xrays")
