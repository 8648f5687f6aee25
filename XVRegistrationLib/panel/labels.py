"""The structures of the CT's segmentation, known to the engine, and their projections on X-rays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.handover import cleanup, write_array
from XVRegistrationLib.scene.hierarchy import remove_nodes
from XVRegistrationLib.scene.label_maps import content_of, label_map_in_steps
from XVRegistrationLib.scene.overlays import set_reprojected_labels
from XVRegistrationLib.scene.segments import segments_of
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.scene.label_maps import Made

_LOOK_SECONDS = 0.5
_STEP_SECONDS = 0.03
"""For which a label map is made in one tick."""
_PIXELS = 512
"""Along the longer side of projected labels: finer edges are not to be seen."""


class Labels:
    """The segmentation of the present volume."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self.changed: Callable[[], object] = lambda: None
        """Called when the labels on all X-rays are out of date."""
        self.forget()

    def forget(self) -> None:
        self._handed: tuple[Any, ...] = (None, "", None)
        """Segmentation node, engine's volume, and the content that the engine has."""
        self._seen: Any = None
        self._looked = 0.0
        self._names: dict[int, tuple[str, Color]] = {}
        self._making: Iterator[Made | None] | None = None

    @property
    def known(self) -> bool:
        """Whether the engine can project them."""
        return bool(self._names)

    @property
    def names(self) -> dict[int, tuple[str, Color]]:
        """Name and colour of what the engine can project, by value."""
        return self._names

    @property
    def busy(self) -> bool:
        """Whether a segmentation was chosen, or edited, that the engine has not got yet."""
        if not self._patient.ready:
            return False
        return self._making is not None or (self._wanted(), self._patient.key) != self._handed[:2]

    def tick(self) -> None:
        """Hand a segmentation to the engine that is new, or was edited and has been left alone since."""
        if not self._patient.ready:
            return
        node, key = self._wanted(), self._patient.key
        if (node, key) != self._handed[:2]:
            self._names = {}
            self._handed = (node, key, None)
            self._making = None
            if node is None:
                self.changed()
            else:
                self._begin(node)
        elif self._making is not None:
            self._go_on(node)
        elif node is not None and time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            now = _content(node)
            if now != self._seen:
                self._seen = now
            elif now != self._handed[2]:
                self._begin(node)

    def project(self, node: Any, done: Callable[[], object] = lambda: None) -> None:
        """Draw the structures on an X-ray at its present pose, as soon as the engine has projected them."""
        nodes = nodes_of(node)
        if nodes is None:
            return
        if not self._names:
            remove_nodes(self._context.scene, [node.GetNodeReference(PREFIX + "Labels")])
            return
        names, source, key = self._names, self._handed[0], self._patient.key

        def drawn(message: Message) -> None:
            present = nodes_of(node) if alive(self._context.scene, node) else None
            if present is None or key != self._patient.key or names is not self._names:
                return  # of another segmentation, whose values may mean something else
            values, masks = message.fields["values"], message.arrays["masks"]
            labels = [(*names[int(v)], mask.astype(np.bool_)) for v, mask in zip(values, masks, strict=True)]
            terms = source if alive(self._context.scene, source) else None
            set_reprojected_labels(self._context.scene, present, labels, source_node=terms)
            done()

        self._context.ask(
            "project_labels",
            drawn,
            volume=key,
            pose=pose_from_node(nodes.pose).tolist(),
            intrinsics=read_intrinsics(node).fitted(_PIXELS).to_dict(),
            values=None,
            channel=f"labels {node.GetID()}",
        )

    def _wanted(self) -> Any:
        parameters = self._context.parameters
        node = None if parameters is None else parameters.segmentation
        return node if alive(self._context.scene, node) else None

    def _begin(self, node: Any) -> None:
        self._making, self._seen = label_map_in_steps(node, self._patient.node), None
        self._go_on(node)

    def _go_on(self, node: Any) -> None:
        """Make the label map for as long as a window may wait, and give it to the engine when it is whole."""
        key, end, made = self._patient.key, time.monotonic() + _STEP_SECONDS, None
        assert self._making is not None
        try:
            while made is None and time.monotonic() < end:
                made = next(self._making)
                if self._seen is None:  # looked at now: making label maps of surfaces changes it
                    self._seen = _content(node)
            if made is None:
                return
            array, ijk_to_ras, names = made
            file = write_array(array, self._patient.folder)
        except Exception as e:
            self._making = None
            self._handed = (node, key, _content(node))
            if not isinstance(e, InputError):
                raise
            self._names = {}
            self._context.say(str(e))
            self.changed()
            return
        self._making = None
        self._handed = (node, key, self._seen)
        self._context.ask(
            "labels",
            lambda _message: self._taken(node, key, names, file),
            on_error=lambda text: self._refused(text, file),
            volume=key,
            labels_file=str(file),
            ijk_to_ras=ijk_to_ras.tolist(),
            values=list(names),
            names=[name for name, _color in names.values()],
        )

    def _taken(self, node: Any, key: str, names: dict[int, tuple[str, Color]], file: Path) -> None:
        cleanup(file)
        if self._handed[:2] == (node, key):
            self._names = names
            self._context.say(_("{count} structures can be drawn on the X-rays.").format(count=len(names)))
            self.changed()

    def _refused(self, text: str, file: Path) -> None:
        cleanup(file)
        self._context.say(text)


def _content(node: Any) -> tuple[Any, ...]:
    """What a segmentation holds, and how it is drawn, to be compared."""
    return content_of(node), tuple(color for _id, _name, color in segments_of(node))
