"""Comparing the X-rays that are shown with their DRRs: the way that is chosen for all, and the windows of the current one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.compared import (
    ATTENTION,
    BLEND,
    CHECKERBOARD,
    DIFFERENCE,
    EDGES,
    ERRORS,
    FLICKER,
    WAYS,
    Compared,
)
from XVRegistrationLib.panel.comparison_maps import ComparisonMaps
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import ComparisonChoice, WindowView
from XVRegistrationLib.scene.comparison import drr_of, set_window_level, usual_window, window_of

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.second_view import SecondView
    from XVRegistrationLib.panel.viewing import Viewing

XRAY, DRR = "xray", "drr"


class Comparing:
    """What is laid over the current X-ray and the one beside it, and the windows of the current one, at every tick."""

    def __init__(self, context: Context, patient: Patient, model: Model, viewing: Viewing, second: SecondView) -> None:
        self._context = context
        self._model = model
        self._viewing = viewing
        self._shown = [
            (part, Compared(part.view, context, ComparisonMaps(context, patient, model, channel)))
            for part, channel in ((viewing, "map"), (second, "second map"))
        ]
        self.forget()

    def forget(self) -> None:
        for _part, compared in self._shown:
            compared.forget()
        self._windows: tuple[Any, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a map is shown that is not up to date."""
        return any(compared.busy for _part, compared in self._shown)

    @property
    def way(self) -> str:
        """How they are compared: what was chosen if that is possible, else by blending."""
        p = self._context.parameters
        chosen = p.comparison if p is not None else BLEND
        return chosen if chosen in WAYS and not self._obstacle(chosen) else BLEND

    def choices(self) -> list[ComparisonChoice]:
        said = {
            BLEND: (_("Blend"), _("The DRR lies over the X-ray as strongly as the slider says.")),
            CHECKERBOARD: (_("Checkerboard"), _("Tiles of the X-ray and of the DRR in turn.")),
            EDGES: (_("Edges of the DRR"), _("The DRR's edges over the X-ray, in orange.")),
            FLICKER: (_("Flicker"), _("X-ray and DRR in turn, twice a second.")),
            DIFFERENCE: (
                _("Difference"),
                _("Orange: the DRR is denser. Blue: the X-ray is denser. Black: no difference."),
            ),
            ERRORS: (
                _("Error map"),
                _(
                    "Bright where X-ray and DRR disagree as the registration sees it, patch by patch; dimmed where that does not "
                    "count: outside of the opening, in ignored rectangles, and where the X-ray shows more than the CT holds."
                ),
            ),
            ATTENTION: (_("Attention map"), _("Bright where the network looks, the mean of its heads.")),
        }
        return [ComparisonChoice(way, *said[way], self._obstacle(way)) for way in WAYS]

    def choose(self, way: str) -> None:
        if way not in WAYS:
            raise InputError(f"There is no comparison {way!r}; there are {', '.join(WAYS)}.")
        obstacle = self._obstacle(way)
        if obstacle:
            raise InputError(obstacle)
        self._context.parameters.comparison = way

    def tick(self) -> None:
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        # Read once: where each view read the clock itself, two of them would now and then show opposite images.
        way, now = self.way, time.monotonic()
        for part, compared in self._shown:
            compared.tick(part.node, way, now)
        self._watch_windows(self._viewing.node)

    # Windows

    def window(self, part: str) -> WindowView | None:
        """Of the X-ray or the DRR; None where that is not there."""
        node = self._image(part)
        if node is None:
            return None
        low, high, _inverted = window_of(node)
        return WindowView(high - low, (low + high) / 2, _round_step((high - low) / 50))

    def set_window(self, part: str, window: float, level: float) -> None:
        node = self._image(part)
        if node is None:
            raise InputError(_("Choose an X-ray that is placed in the scene."))
        if not (np.isfinite([window, level]).all() and window > 0):
            raise InputError(_("A window is wider than 0."))
        set_window_level(node, window, level)

    def usual_window(self, part: str) -> None:
        node = self._image(part)
        if node is None:
            raise InputError(_("Choose an X-ray that is placed in the scene."))
        usual_window(node)

    # Inside

    def _obstacle(self, way: str) -> str:
        if way != ATTENTION or self._model.attention:
            return ""
        if self._model.network:
            return _(
                "The model's network has no attention to show; delete the model, and train a network with attention."
            )
        return _("The model has no network yet; train one with attention.")

    def _image(self, part: str) -> Any:
        if part not in (XRAY, DRR):
            raise InputError(f"There is no image {part!r}; there are {XRAY} and {DRR}.")
        node = self._viewing.node
        image = node if node is None or part == XRAY else drr_of(node)
        return None if image is None or image.GetDisplayNode() is None else image

    def _watch_windows(self, node: Any) -> None:
        images = [] if node is None else [self._image(part) for part in (XRAY, DRR)]
        now = tuple(None if image is None else window_of(image) for image in images)
        if now != self._windows:
            self._windows = now
            self._context.changed.emit("view")


def _round_step(step: float) -> float:
    """The next lower power of ten, or twice or five times one."""
    if not step > 0:
        return 0.01
    power = 10.0 ** np.floor(np.log10(step))
    return float(power * max(n for n in (1, 2, 5) if n * power <= step * (1 + 1e-9)))
