"""A slice view that shows an X-ray: what it shows is changed only where something is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.ignored import rois_of
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xray_view import clear_view, keep_upright, show_in_view
from XVRegistrationLib.scene.xrays import OVERLAYS

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context


class XrayInView:
    """The view's nodes, and what they show."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._slice: Any = None
        self._composite: Any = None
        self.over: Any = None
        """An image to lay over the X-ray in place of its DRR, with `opacity`."""
        self.opacity: float | None = None
        """In place of what the user chose for blending."""
        self.forget()

    def forget(self) -> None:
        """Whatever is shown next is shown anew."""
        self._shown: tuple[Any, ...] = ()
        self._upright: tuple[Any, ...] = ()

    def attach(self, slice_node: Any, composite_node: Any) -> None:
        """Use this view from now on, or with None, None, none; the one before is cleared."""
        if self._slice is not None and slice_node is not self._slice and alive(self._context.scene, self._slice):
            clear_view(self._slice, self._composite)
        self._slice, self._composite = slice_node, composite_node
        self._shown = ()

    def show(self, node: Any, blend: float, labels: bool, outlines: bool, targets: bool) -> None:
        """Show an X-ray by its image node, as `show_in_view`; nothing for None."""
        if not alive(self._context.scene, self._slice) or not alive(self._context.scene, self._composite):
            return
        place = _place_of(node)
        if place is None:
            if self._shown != (None,):
                self._shown = (None,)
                clear_view(self._slice, self._composite)
            return
        blend = blend if self.opacity is None else self.opacity
        over = self.over if alive(self._context.scene, self.over) else None
        drawn = (*(node.GetNodeReferenceID(PREFIX + p) for p in OVERLAYS), *(roi.GetID() for roi in rois_of(node)))
        shown = (node, drawn, blend, labels, outlines, targets, over)
        if shown != self._shown:
            self._shown = shown
            show_in_view(self._slice, self._composite, node, blend, labels, outlines, targets, over)
            self._upright = ()
        # Turning the view draws it, so that is done only where something moved.
        upright = (place, tuple(self._slice.GetDimensions()), node.GetSpacing())
        if upright != self._upright:
            self._upright = upright
            keep_upright(self._slice, node)


def _place_of(node: Any) -> bytes | None:
    """Where an image is in the world, to be compared; None for no image, and under a transform that is not linear."""
    try:
        return None if node is None else ijk_to_world(node).tobytes()
    except InputError:
        return None
