"""One X-ray that is shown, compared with its DRR: the picture that is laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel import comparison_pictures as pictures
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.scene.comparison import drr_of, remove_comparison, set_comparison, window_of
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import nodes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.comparison_maps import ComparisonMaps
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.xray_in_view import XrayInView
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
_MAKERS = {CHECKERBOARD: pictures.checkerboard, EDGES: pictures.edges, DIFFERENCE: pictures.difference}
_MAPS = (ERRORS, ATTENTION)
_FLICKER_SECONDS = 0.5
_FINER = 2  # a picture has so many times the DRR's pixels along a side, but not more than the X-ray's


class Compared:
    """Looks at the X-ray of a view, its DRR and their windows, and makes the picture anew where one of them changed."""

    def __init__(self, view: XrayInView, context: Context, maps: ComparisonMaps) -> None:
        self._view = view
        self._context = context
        self._maps = maps
        self.forget()

    def forget(self) -> None:
        """Let go of all nodes."""
        self._maps.forget()
        self._picture: Any = None
        self._made_of: tuple[Any, ...] = ()
        self._xray: tuple[tuple[Any, ...], Any] = ((), None)
        self._view.over, self._view.opacity = None, None

    @property
    def busy(self) -> bool:
        """Whether a map is shown that is not up to date."""
        return self._maps.busy

    def tick(self, node: Any, way: str, now: float) -> None:
        """Let the view compare this X-ray, by its image node, in this way; None for no X-ray. `now` in seconds, for flicker."""
        nodes = None if node is None else nodes_of(node)
        over, opacity = None, None
        if nodes is not None and way == FLICKER:
            opacity = float(int(now / _FLICKER_SECONDS) % 2)
        elif nodes is not None and way != BLEND:
            over, opacity = self._follow(nodes, way)
        if nodes is None or way not in _MAPS:
            self._maps.rest()
        if over is None and (nodes is None or way in (BLEND, FLICKER)):
            self._drop()
        self._view.over, self._view.opacity = over, opacity

    def _follow(self, nodes: XrayNodes, way: str) -> tuple[Any, float]:
        """The picture to lay over the X-ray, made anew if it has to be, and its opacity; nothing until there is one."""
        second: NDArray[Any] | None = None
        drr = drr_of(nodes.xray)
        window: tuple[Any, ...] = ()
        if way in _MAPS:
            second, stamp = self._maps.follow(nodes, way)
        elif drr is not None:
            second, stamp = voxels(drr)[0], drr.GetImageData().GetMTime()
            window = window_of(drr)
        if second is None:
            return None, 0.0
        size = nodes.xray.GetImageData().GetDimensions()
        made_of = (way, nodes.xray.GetID(), nodes.xray.GetImageData().GetMTime(), window_of(nodes.xray), stamp, window)
        if made_of != self._made_of or not alive(self._context.scene, self._picture):
            longest = min(_FINER * max(second.shape), max(size))
            shape = (
                max(1, round(size[1] * longest / max(size))),
                max(1, round(size[0] * longest / max(size))),
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
