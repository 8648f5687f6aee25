"""Adding X-rays: from files, which the engine reads, and from images of the scene."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.xray_messages import IF_POSSIBLE, unpack
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.dicom_source import SOURCE, public_name, source_of
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.volume_values import VESSELS
from XVRegistrationLib.scene.attributes import PREFIX, read_missing
from XVRegistrationLib.scene.placing import missing_of
from XVRegistrationLib.scene.runs import add_frames, run_of, share, show_controls
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xray_source import RUN, read_source, source_of_message, write_source
from XVRegistrationLib.scene.xrays import add_pending_xray, name_of, volume_node_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.dicom_source import Frame
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.xrays import Xrays

_UNSET = 1e-5
"""A spacing of one millimetre to within this is what other readers put where they found none, as Slicer does for CR."""


class XrayAdding:
    """How X-rays come into the scene; each belongs to the volume that was chosen when it was asked for."""

    def __init__(self, context: Context, patient: Patient, xrays: Xrays) -> None:
        self._context = context
        self._patient = patient
        self._xrays = xrays

    def can_add(self) -> str:
        return "" if self._context.parameters is not None else _("There is no scene to add X-rays to.")

    def add_files(
        self, paths: Sequence[Path], frame: Frame | None = None, subtract: bool | Sequence[int] | None = None
    ) -> None:
        for path in paths:
            self._ask_for(path, frame, subtract=subtract)

    def candidates(self) -> list[Any]:
        scene = self._context.scene
        count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        nodes = [scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(count)]
        return [
            node
            for node in nodes
            if not name_of(node) and not node.GetAttribute(PREFIX + "Part") and (_is_one_slice(node) or source_of(node))
        ]

    def add_nodes(self, nodes: Sequence[Any], frame: Frame | None = None) -> None:
        for node in nodes:
            source = source_of(node)
            if source is not None:
                shown = source.frame if frame is None else frame
                self._ask_for(source.file, shown, public_name(node), source.uid)
                continue
            if not _is_one_slice(node):
                raise InputError(_("{name} is not an X-ray: one grey image is needed.").format(name=node.GetName()))
            self._add_pixels(node)

    def _ask_for(
        self,
        path: Path,
        frame: Frame | None,
        name: str = "",
        uid: str = "",
        *,
        subtract: bool | Sequence[int] | None = None,
    ) -> None:
        """Read a file in the engine; a node of the scene that it belongs to gives the X-ray its name.

        With `subtract` None it is subtracted if the volume is vessels and the file says how; it may list the mask frames.
        """
        obstacle = self.can_add()
        if obstacle:
            raise InputError(obstacle)
        self._context.say(_("Reading {name}...").format(name=name or path.name))
        which = None if frame == RUN else frame
        read = partial(self._read, self._patient.chosen, name, uid, path, which)
        how: dict[str, Any] = {"subtract": IF_POSSIBLE if self._patient.said[0] == VESSELS else False}
        if isinstance(subtract, bool):
            how = {"subtract": subtract}
        elif subtract is not None:
            how = {"subtract": True, "mask_frames": list(subtract)}
        self._context.ask("read_xray", read, path=str(path), frame=which, mirrored=None, **how)

    def _add_pixels(self, node: Any) -> None:
        """Add a copy of an image of which nothing is known but what it looks like."""
        dx, dy, _dz = node.GetSpacing()
        known: dict[str, Any] = {"mirrored": False}
        origins = {"mirrored": "assumed", "scale": "assumed"}
        if not (abs(dx - 1.0) < _UNSET and abs(dy - 1.0) < _UNSET):
            known["spacing"], origins["spacing"] = (dx, dy), "tag"
        scene, pixels = self._context.scene, voxels(node)[0].copy()
        added = add_pending_xray(
            scene, node.GetName(), pixels, known, origins, missing_of(known), "attenuation", self._volume_now()
        )
        self._added(added, self._patient.chosen)

    def _read(self, volume: Any, name: str, uid: str, path: Path, asked: int | str | None, message: Message) -> None:
        """Add the X-ray of a file for the volume that was chosen when the user asked for it."""
        frames: list[PartialXray] = unpack(message.fields, message.arrays)
        scene, first = self._context.scene, frames[0]
        belongs = volume if alive(scene, volume) else None
        called = Path(first.path).stem if len(frames) > 1 else first.name
        node = add_frames(scene, frames, name or called, belongs)
        if uid:
            node.SetAttribute(SOURCE, uid)
            share(node, SOURCE)
        write_source(node, source_of_message(message, asked))
        self._xrays.files.keep(node, path)
        self._added(node, volume)

    def _volume_now(self) -> Any:
        chosen = self._patient.chosen
        return chosen if alive(self._context.scene, chosen) else None

    def _added(self, node: Any, volume: Any) -> None:
        """Place a new X-ray, show it where none is, and say what it lacks."""
        scene, parameters = self._context.scene, self._context.parameters
        volume = volume if alive(scene, volume) else None
        if volume in (None, self._patient.node):  # else it is placed when its volume is chosen
            self._xrays.place(node)
        if parameters is not None and volume in (None, self._patient.chosen):
            shown = parameters.xray if alive(scene, parameters.xray) else None
            if shown is None or volume_node_of(shown) not in (None, volume):
                parameters.xray = node
        self._context.say(self._said_of(node))
        self._context.changed.emit("xrays")

    def _said_of(self, node: Any) -> str:
        """What is to be said of an X-ray that was added."""
        missing, run, source = read_missing(node), run_of(node), read_source(node)
        if missing:
            words = {"sdd": _("the distance source-detector"), "spacing": _("the pixel spacing")}
            lacking = _(" and ").join(words[field] for field in missing)
            return _("{name} does not state {what}; enter it.").format(name=name_of(node), what=lacking)
        said = _("{name} was added.")
        if run is not None:
            show_controls(node)
            said = _("{name} was added with {count} frames; the one that is shown is registered.")
        if source is not None and source.subtracted:
            said += _(" Its mask was subtracted.")
        elif self._patient.said[0] == VESSELS:
            said += _(" It is not subtracted: it shows more than the vessels of the volume.")
        return said.format(name=name_of(node), count=0 if run is None else run.count)


def _is_one_slice(node: Any) -> bool:
    image = node.GetImageData()
    return image is not None and image.GetNumberOfScalarComponents() == 1 and image.GetDimensions()[2] == 1
