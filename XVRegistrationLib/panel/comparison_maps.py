"""Maps over the current X-ray that the engine makes: where it and the render disagree, and where the network looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import NOT_ASKED
from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale
from XVRegistrationLib.scene.ignored import pixels_of, rectangles_of
from XVRegistrationLib.scene.xrays import pose_from_node

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.scene.xrays import XrayNodes

_REST_SECONDS = 0.3
_KEPT = 16
"""Maps: who goes from one X-ray to the next and back does not wait for them again."""
_OPERATIONS = {"errors": "error_map", "attention": "attention_map"}


class ComparisonMaps:
    """The map that is shown, asked for anew when what it is made of has come to rest."""

    def __init__(self, context: Context, patient: Patient, model: Model, channel: str) -> None:
        """`channel`: what tells its requests from those of the other view."""
        self._context = context
        self._patient = patient
        self._model = model
        self._channel = channel
        self.forget()

    def forget(self) -> None:
        self._wanted: tuple[Any, ...] = ()
        self._due = 0.0
        self._asked: tuple[Any, ...] = ()
        self._there: dict[tuple[Any, ...], NDArray[np.float32]] = {}
        """The last maps, by what they were made of, oldest first."""

    def rest(self) -> None:
        """No map is shown."""
        self._wanted, self._asked = (), ()

    @property
    def busy(self) -> bool:
        return bool(self._wanted) and self._patient.ready and self._wanted not in (self._asked, *self._there)

    def follow(self, nodes: XrayNodes, way: str) -> tuple[NDArray[np.float32] | None, Any]:
        """The map (h, w), 0..1 or NaN, of an X-ray as it is now, and what tells it from others; None until it is there."""
        try:
            wanted = self._made_of(nodes, way)
        except InputError:
            return None, ()
        if wanted != self._wanted:
            # Only while the same X-ray moves more changes are to be expected.
            moves = bool(self._wanted) and wanted[:3] == self._wanted[:3]
            self._wanted, self._due = wanted, time.monotonic() + (_REST_SECONDS if moves else 0.0)
        there = self._there.get(wanted)
        if there is None and self._patient.ready and self._asked != wanted and time.monotonic() >= self._due:
            self._ask(nodes, way, wanted)
        return (None, ()) if there is None else (there, wanted)

    def _made_of(self, nodes: XrayNodes, way: str) -> tuple[Any, ...]:
        image, xray = nodes.xray.GetImageData().GetMTime(), read_intrinsics(nodes.xray)
        common = (way, self._patient.key, nodes.xray.GetID(), image, xray)
        if way == "attention":
            return (*common, str(self._model.folder), self._model.view().trained_minutes)
        return (*common, pose_from_node(nodes.pose).tobytes(), tuple(rectangles_of(nodes.xray)))

    def _ask(self, nodes: XrayNodes, way: str, wanted: tuple[Any, ...]) -> None:
        self._asked = wanted

        def made(message: Message) -> None:
            self._there[wanted] = message.arrays["image"]
            while len(self._there) > _KEPT:
                del self._there[next(iter(self._there))]

        try:
            arrays = pixels_of(nodes.xray)
        except InputError as e:
            self._context.say(str(e))
            return
        number = self._context.ask(
            _OPERATIONS[way],
            made,
            arrays=arrays,
            volume=self._patient.key,
            name=nodes.name,
            intrinsics=read_intrinsics(nodes.xray).to_dict(),
            scale=read_scale(nodes.xray),
            pose=pose_from_node(nodes.pose).tolist(),
            channel=self._channel,
        )
        if number == NOT_ASKED:
            self._asked = ()
