"""What an X-ray shows of its file, the steps from there to what is compared, and rectangles that do not count."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.jobs.xray_messages import IF_POSSIBLE, unpack
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import StepsView
from XVRegistrationLib.scene.attributes import read_known, read_scale
from XVRegistrationLib.scene.ignored import rectangles_of, set_rectangles
from XVRegistrationLib.scene.rereading import read_again
from XVRegistrationLib.scene.runs import frame_of
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xray_source import RUN, read_source, source_of_message
from XVRegistrationLib.scene.xrays import mask_of, name_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.dicom_source import Frame
    from XVRegistrationLib.panel.registering import Registering
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays
    from XVRegistrationLib.scene.ignored import Rectangle

_NEW_RECTANGLE = 0.25
"""Of the image's sides, one that is to be dragged to its place."""


class XrayImages:
    """The pictures of X-rays that have been added."""

    def __init__(self, context: Context, xrays: Xrays, registering: Registering, viewing: Viewing) -> None:
        self._context = context
        self._xrays = xrays
        self._registering = registering
        self._viewing = viewing
        self.steps: StepsView | None = None
        """Those that were asked for last; None until they are there."""

    def forget(self) -> None:
        """Let go of what belongs to the scene."""
        self.steps = None

    # What of its file it shows

    def can_read_again(self, node: Any) -> str:
        """Why an X-ray cannot be shown otherwise; empty if it can."""
        if read_source(node) is None:
            return _("{name} was added as an image, not from a file; add its file.").format(name=name_of(node))
        if self._registering.is_under_way(node):
            return _("{name} is being registered; wait, or stop that.").format(name=name_of(node))
        return ""

    def can_subtract(self, node: Any) -> str:
        """Why no mask can be subtracted from an X-ray; empty if one can, or is."""
        obstacle, source = self.can_read_again(node), read_source(node)
        if obstacle or source is None or source.subtractable or source.subtracted or source.mask_frames:
            return obstacle
        text = _(
            "The file of {name} names no mask frames (MaskSubtractionSequence (0028,6100)): say yourself which they are."
        )
        return text.format(name=name_of(node))

    def read_again(
        self, node: Any, frame: Frame | None, subtract: bool | Sequence[int] | None, file: Path | None
    ) -> None:
        self._check(node)
        obstacle = self.can_subtract(node) if subtract is True else self.can_read_again(node)
        if obstacle:
            raise InputError(obstacle)
        source = read_source(node)
        assert source is not None
        if subtract is None or isinstance(subtract, bool):
            mask = () if subtract and source.subtractable else source.mask_frames
            subtracted: bool | str = source.subtracted if subtract is None else subtract
        else:
            mask = tuple(subtract)
            subtracted = bool(mask) or IF_POSSIBLE
        path = file or self._xrays.files.of(node)
        if path is None:
            raise InputError(
                _("It is no longer known where the file of {name} is; give it.").format(name=name_of(node))
            )
        shown = source.shown if frame is None else frame
        wanted = None if shown == RUN else shown
        self._context.say(_("Reading {name}...").format(name=name_of(node)))
        self._context.ask(
            "read_xray",
            partial(self._read, node, wanted, path),
            on_error=self._not_read,
            path=str(path),
            frame=wanted,
            mirrored=None,
            subtract=subtracted,
            mask_frames=list(mask),
            digest=source.digest,
            name=name_of(node),
        )

    def _read(self, node: Any, asked: int | str | None, path: Path, message: Message) -> None:
        if not alive(self._context.scene, node):
            return
        obstacle = self.can_read_again(node)
        if obstacle:
            raise InputError(obstacle)
        frames = unpack(message.fields, message.arrays)
        read_again(node, frames, source_of_message(message, asked), self._xrays.first_pose)
        self._xrays.files.keep(node, path)
        self._registering.forget_outcome(node)
        if nodes_of(node) is not None:
            self._viewing.refresh(node)
        self._context.say(_("{name} was read anew.").format(name=name_of(node)))
        self._context.changed.emit("xrays")

    def _not_read(self, text: str) -> None:
        if text:
            self._context.say(text)
        self._context.changed.emit("xrays")  # the form shows what is in use

    # The steps

    def show_steps(self, node: Any) -> None:
        self._check(node)
        self.steps = None
        source, path = read_source(node), self._xrays.files.of(node)
        pixels = voxels(node)[0]
        arrays = {"pixels": pixels.copy()}
        counts = ignored(pixels.shape, rectangles_of(node), name_of(node))
        for name, mask in (("mask", mask_of(node)), ("counts", counts)):
            if mask is not None:
                arrays[name] = mask.astype(np.uint8)
        self._context.ask(
            "xray_steps",
            partial(self._made, name_of(node)),
            arrays=arrays,
            name=name_of(node),
            scale=read_scale(node),
            spacing=read_known(node).get("spacing"),
            path="" if path is None else str(path),
            frame=frame_of(node),
            frames=1 if source is None else source.frames,
        )

    def _made(self, name: str, message: Message) -> None:
        f = message.fields
        images = tuple((str(title), message.arrays[f"step {i}"].copy()) for i, title in enumerate(f["titles"]))
        left_out = tuple((str(reason), str(color), float(share)) for reason, color, share in f["left_out"])
        letters = {str(side): str(letter) for side, letter in f["letters"].items()}
        self.steps = StepsView(name, images, left_out, float(f["aspect"]), letters)
        self._context.changed.emit("steps")

    # What does not count

    def can_ignore(self, node: Any) -> str:
        """Why no rectangle can be put on an X-ray; empty if one can."""
        return "" if nodes_of(node) is not None else _("Enter the geometry of the X-ray first.")

    def ignore(self, node: Any, rectangles: Sequence[Sequence[float]]) -> None:
        self._check(node)
        set_rectangles(node, rectangles)
        self._context.changed.emit("xrays")

    def ignore_another(self, node: Any) -> None:
        """Put a rectangle into the middle of an X-ray."""
        self._check(node)
        height, width = voxels(node).shape[1:]
        w, h = max(1, round(width * _NEW_RECTANGLE)), max(1, round(height * _NEW_RECTANGLE))
        self.ignore(node, [*rectangles_of(node), ((width - w) // 2, (height - h) // 2, w, h)])
        self._context.say(
            _("Drag the handles of the rectangle in the view of the X-ray: what it covers does not count.")
        )

    def ignored(self, node: Any) -> list[Rectangle]:
        self._check(node)
        return rectangles_of(node)

    def _check(self, node: Any) -> None:
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))
