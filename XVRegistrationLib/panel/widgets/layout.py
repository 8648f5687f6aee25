"""The module's arrangement of views: bringing it, what it shows at first, and giving the user's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.layout import BIPLANE_LAYOUT_ID, LAYOUT_ID, LAYOUTS, SECOND_VIEW, XRAY_VIEW, add_layouts
from XVRegistrationLib.scene.xrays import nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow

_FROM = np.array([-0.75, 0.55, 0.36])
"""Where the 3D view looks from, RAS: the patient's left and front, a little from above. The C-arm is seen from the side."""


class Views:
    """The module's layout from the first time it is entered, unless the user chose another in the meantime."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._users_layout: int | None = None
        self._wanted = True  # whether entering brings the module's layout
        self._layers: dict[str, tuple[str | None, ...]] = {}
        self._volume: Any = None
        self._placed = False
        self._in_3d: dict[str, bool] = {}
        """Name of an X-ray's view -> whether 3D shows it, as far as that is known."""
        self._layout = LAYOUT_ID

    @property
    def entered(self) -> bool:
        """Whether the views are the module's at present."""
        return self._users_layout is not None

    def enter(self) -> None:
        """Remember what the user sees and bring the module's layout."""
        node = _layout_node()
        if node is None or self.entered:
            return
        add_layouts(node)
        # A scene may have been saved in the module's layout: then Slicer's own first one is what to go back to.
        shown = node.GetViewArrangement()
        self._users_layout = node.SlicerLayoutFourUpView if shown in LAYOUTS else shown
        self._layers = {composite.GetID(): _layers(composite) for composite in self._other_slices()}
        if self._wanted:
            node.SetViewArrangement(self._layout)
        self.attach()

    def attach(self) -> None:
        """Let the session show the X-rays in their views; it waits where there is no such view yet."""
        self._in_3d = {}
        for name, attach in ((XRAY_VIEW, self._session.attach_view), (SECOND_VIEW, self._session.attach_second_view)):
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
            if logic is not None:
                composite = logic.GetSliceCompositeNode()
                composite.SetDoPropagateVolumeSelection(False)  # a volume that is loaded does not replace the X-ray
                attach(logic.GetSliceNode(), composite)

    def show(self, volume: Any, rows: Sequence[XrayRow]) -> None:
        """Show a newly chosen volume where a slice view is empty, and the first X-ray that is placed in 3D.

        What the user has in a view stays: nothing is shown a second time.
        """
        if not self.entered:
            return
        if volume is not self._volume:
            self._volume = volume
            self._fill_empty_slices(volume)
        placed = [nodes for row in rows if (nodes := nodes_of(row.node)) is not None]
        if placed and not self._placed:
            _look_at([node for node in (placed[0].frustum, volume) if node is not None])
        self._placed = bool(placed)
        self._arrange()
        self._say_in_view("" if rows else _("Add an X-ray: section 3 of the module"))
        self._show_in_3d(XRAY_VIEW, any(row.current for row in rows))
        self._show_in_3d(SECOND_VIEW, self._session.beside is not None)

    def exit(self) -> None:
        """Give the user's layout back, and what slice views showed where one shows an X-ray of ours instead."""
        node = _layout_node()
        if node is None or not self.entered:
            return
        self._wanted = node.GetViewArrangement() in LAYOUTS
        if self._wanted:
            node.SetViewArrangement(self._users_layout)
        self._users_layout = None
        for composite in self._other_slices():
            before = self._layers.get(composite.GetID())
            if before is not None and any(_is_ours(node_id) for node_id in _layers(composite)):
                background, foreground, label = (_existing(node_id) for node_id in before)
                composite.SetBackgroundVolumeID(background)
                composite.SetForegroundVolumeID(foreground)
                composite.SetLabelVolumeID(label)

    def _arrange(self) -> None:
        """Bring one X-ray's arrangement or that of two when the user asks for the other; a layout chosen elsewhere stays."""
        parameters, node = self._session.parameters, _layout_node()
        layout = BIPLANE_LAYOUT_ID if parameters is not None and parameters.biplane else LAYOUT_ID
        if layout == self._layout or node is None:
            return
        self._layout = layout
        node.SetViewArrangement(layout)
        self.attach()

    def _say_in_view(self, text: str) -> None:
        """Write a text over the X-ray's view, at its upper edge: Slicer's own annotations are in the corners."""
        manager = slicer.app.layoutManager()
        widget = None if manager is None else manager.sliceWidget(XRAY_VIEW)
        if widget is None:
            return
        annotation = widget.sliceView().cornerAnnotation()
        if (annotation.GetText(annotation.UpperEdge) or "") != text:
            annotation.SetText(annotation.UpperEdge, text)
            widget.sliceView().scheduleRender()

    def _show_in_3d(self, name: str, shown: bool) -> None:
        """Show an X-ray's view in 3D, which is the X-ray on its detector plane, and not a blank plane where there is none."""
        logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
        if logic is not None and shown is not self._in_3d.get(name):
            self._in_3d[name] = shown
            logic.GetSliceNode().SetSliceVisible(shown)

    def _fill_empty_slices(self, volume: Any) -> None:
        if volume is None:
            return
        for composite in self._other_slices():
            if _existing(composite.GetBackgroundVolumeID()) is None:
                composite.SetBackgroundVolumeID(volume.GetID())
                logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(composite.GetLayoutName())
                if logic is not None:
                    logic.FitSliceToAll()

    def _other_slices(self) -> list[Any]:
        nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceCompositeNode")
        nodes.UnRegister(None)  # the caller's reference, which Python does not count
        composites = [nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())]
        return [composite for composite in composites if composite.GetLayoutName() not in (XRAY_VIEW, SECOND_VIEW)]


def _layout_node() -> Any:
    """vtkMRMLLayoutNode; None where there is no main window."""
    manager = slicer.app.layoutManager()
    return manager.layoutLogic().GetLayoutNode() if manager is not None else None


def _layers(composite: Any) -> tuple[str | None, str | None, str | None]:
    return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()


def _existing(node_id: str | None) -> str | None:
    return node_id if node_id and slicer.mrmlScene.GetNodeByID(node_id) is not None else None


def _is_ours(node_id: str | None) -> bool:
    """Whether a volume is an X-ray or DRR of this module."""
    node = slicer.mrmlScene.GetNodeByID(node_id) if node_id else None
    return node is not None and any(name.startswith("XVRegistration.") for name in node.GetAttributeNames())


def _look_at(nodes: Sequence[Any]) -> None:
    """Turn the first 3D view to see all of some displayable nodes."""
    manager = slicer.app.layoutManager()
    if manager is None or not manager.property("threeDViewCount"):
        return
    view = manager.threeDWidget(0).threeDView()
    camera = view.cameraNode()
    if camera is None:
        return
    corners = np.zeros((len(nodes), 6))
    for row, node in zip(corners, nodes, strict=True):
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        row[:] = bounds
    low, high = corners[:, ::2].min(axis=0), corners[:, 1::2].max(axis=0)
    middle, radius = (low + high) / 2, np.linalg.norm(high - low) / 2
    # The view angle is that of the height: a view that is higher than wide needs to be further away.
    width, height = (max(1, int(view.property(side))) for side in ("width", "height"))
    distance = radius / np.sin(np.radians(camera.GetViewAngle()) / 2) / min(1.0, width / height)
    camera.SetFocalPoint(*middle)
    camera.SetPosition(*(middle + distance * _FROM / np.linalg.norm(_FROM)))
    camera.SetViewUp(0.0, 0.0, 1.0)
    camera.ResetClippingRange()
