"""Comparing the current X-ray with its DRR: which picture is laid over it, and the windows of both."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel import comparison_pictures as pictures
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import ComparisonChoice, WindowView
from XVRegistrationLib.scene.comparison import (
    drr_of,
    remove_comparison,
    set_comparison,
    set_window_level,
    usual_window,
    window_of,
)
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import nodes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.comparison_maps import ComparisonMaps
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.scene.xrays import XrayNodes

BLEND, CHECKERBOARD, EDGES, FLICKER, DIFFERENCE, ERRORS, ATTENTION = WAYS = (
    "blend",
    "checkerboard",
    "edges",
    "flicker",
    "difference",
    "errors",
    "attention",
)
"""Values of the parameter `comparison`."""
XRAY, DRR = "xray", "drr"
_MAKERS = {CHECKERBOARD: pictures.checkerboard, EDGES: pictures.edges, DIFFERENCE: pictures.difference}
_FLICKER_SECONDS = 0.5
_FINER = 2  # a picture has so many times the DRR's pixels along a side, but not more than the X-ray's


class Comparing:
    """Looks at the X-ray, its DRR and their windows at every tick, and makes the picture anew where one of them changed."""

    def __init__(self, context: Context, model: Model, viewing: Viewing, maps: ComparisonMaps) -> None:
        self._context = context
        self._model = model
        self._viewing = viewing
        self._maps = maps
        self._picture: Any = None
        self.forget()

    def forget(self) -> None:
        self._maps.forget()
        self._picture = None
        self._made_of: tuple[Any, ...] = ()
        self._xray: tuple[tuple[Any, ...], Any] = ((), None)
        self._windows: tuple[Any, ...] = ()
        self._viewing.over, self._viewing.opacity = None, None

    @property
    def busy(self) -> bool:
        """Whether a map is shown that is not up to date."""
        return self._maps.busy

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
                _("Bright where X-ray and DRR disagree as the registration sees it, patch by patch."),
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
        p = self._context.parameters
        if p is None or self._context.scene.IsClosing():
            return
        node, way = self._viewing.node, self.way
        nodes = None if node is None else nodes_of(node)
        over, opacity = None, None
        if nodes is not None and way == FLICKER:
            opacity = float(int(time.monotonic() / _FLICKER_SECONDS) % 2)
        elif nodes is not None and way != BLEND:
            over, opacity = self._follow(nodes, way)
        if way not in (ERRORS, ATTENTION):
            self._maps.rest()
        if over is None and way in (BLEND, FLICKER):
            self._drop()
        self._viewing.over, self._viewing.opacity = over, opacity
        self._watch_windows(node)

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
                "The model's network has no attention to show; choose the network with attention before training one."
            )
        return _("The model has no network yet; train it.")

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

    def _follow(self, nodes: XrayNodes, way: str) -> tuple[Any, float]:
        """The picture to lay over the X-ray, made anew if it has to be, and its opacity; nothing until there is one."""
        second: NDArray[Any] | None = None
        drr = drr_of(nodes.xray)
        window: tuple[Any, ...] = ()
        if way in (ERRORS, ATTENTION):
            second, stamp = self._maps.follow(nodes, way)
        elif drr is not None:
            second, stamp = voxels(drr)[0], drr.GetImageData().GetMTime()
            window = window_of(drr)
        if second is None:
            return None, 0.0
        intrinsics = nodes.xray.GetImageData().GetDimensions()
        made_of = (way, nodes.xray.GetID(), nodes.xray.GetImageData().GetMTime(), window_of(nodes.xray), stamp, window)
        if made_of != self._made_of or not alive(self._context.scene, self._picture):
            longest = min(_FINER * max(second.shape), max(intrinsics))
            shape = (
                max(1, round(intrinsics[1] * longest / max(intrinsics))),
                max(1, round(intrinsics[0] * longest / max(intrinsics))),
            )
            below = self._windowed_xray(nodes.xray, shape)
            above = pictures.resized(second, shape)
            picture = (
                _MAKERS[way](below, pictures.windowed(above, *window)) if window else pictures.map_over(below, above)
            )
            self._picture = set_comparison(self._context.scene, self._picture, nodes, picture)
            self._made_of = made_of
        return self._picture, 1.0

    def _windowed_xray(self, node: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
        # Averaging a large X-ray takes longer than the rest: while the pose moves it stays as it is.
        made_of = (node.GetID(), node.GetImageData().GetMTime(), shape)
        if self._xray[0] != made_of:
            self._xray = made_of, pictures.resized(voxels(node)[0], shape)
        return pictures.windowed(self._xray[1], *window_of(node))

    def _drop(self) -> None:
        """Nothing is laid over: the picture goes."""
        if self._picture is not None:
            remove_comparison(self._context.scene, self._picture)
            self._picture, self._made_of, self._xray = None, (), ((), None)


def _round_step(step: float) -> float:
    """The next lower power of ten, or twice or five times one."""
    if not step > 0:
        return 0.01
    power = 10.0 ** np.floor(np.log10(step))
    return float(power * max(n for n in (1, 2, 5) if n * power <= step * (1 + 1e-9)))
