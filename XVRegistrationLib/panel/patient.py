"""The chosen volume: handed to the engine, looked at, and remembered with what belongs to it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.anatomies import load_presets, preset_named
from XVRegistrationLib.panel.belongings import Belongings
from XVRegistrationLib.panel.context import alive, grey
from XVRegistrationLib.panel.dicom_source import public_name
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import PatientView
from XVRegistrationLib.panel.volume_files import VolumeFiles
from XVRegistrationLib.panel.volume_values import VolumeValues, view_of
from XVRegistrationLib.scene.handover import cleanup
from XVRegistrationLib.scene.patients import recall, remember
from XVRegistrationLib.scene.transforms import ijk_to_world

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.anatomies import Preset
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context

_PICTURE_PIXELS = 192
_SETTLED = 0.5
"""Seconds without a change after which a volume that was moved or edited is handed over anew."""
_RESTARTS = 2
"""Engines in a row that may die on the same volume."""


class Patient:
    """The volume that X-rays are registered to."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files = VolumeFiles(context)
        self._values = VolumeValues(context)
        self._request: dict[str, Any] = {}
        """What the engine is asked to look at; empty where nothing can be handed over."""
        self._count = 0
        self._preset_shown = ""
        self._belongings = Belongings(context)
        self._reset(None)

    def _reset(self, node: Any) -> None:
        self._forget_meant()
        self.node = node
        """vtkMRMLScalarVolumeNode, or None."""
        self.key = ""
        """What the engine knows the volume by; "" until it was looked at."""
        self.fingerprint = ""
        self.file: Path | None = None
        """The voxels as .npy, in HU or 1/mm, for trainings; None until the volume was looked at."""
        self.ijk_to_ras: NDArray[np.float64] = np.eye(4)
        self._signature: tuple[Any, ...] = ()
        self._changed_at: float | None = None
        self._generation = 0
        self._restarts = 0
        self._view = PatientView(problem=_("Choose the CT.")) if node is None else PatientView(name=node.GetName())
        self._busy = False

    # What others need

    @property
    def ready(self) -> bool:
        """Whether the engine holds the volume and X-rays can be registered to it."""
        return bool(self.key) and self._view.ok

    @property
    def busy(self) -> bool:
        return self._busy or self.chosen is not self.node or self._changed_at is not None

    @property
    def chosen(self) -> Any:
        """The volume that the parameters name; `node` follows it at the next tick."""
        parameters = self._context.parameters
        node = None if parameters is None else parameters.volume
        return node if alive(self._context.scene, node) else None

    @property
    def said(self) -> tuple[Any, ...]:
        """What the user says that the volume's values are, to be compared."""
        return self._values.said()

    @property
    def folder(self) -> Path:
        """Where files for the engine are written; removed when the session closes."""
        return self._files.folder

    @property
    def preset(self) -> Preset:
        """The chosen preset, else the first."""
        presets = load_presets()
        name = self._context.parameters.preset if self._context.parameters is not None else ""
        return presets.get(name) or next(iter(presets.values()))

    @property
    def nominal_pose(self) -> NDArray[np.float64]:
        """(4, 4), camera -> RAS, mm: the preset's view of the volume's centre."""
        return NominalView(self.preset.view, self.center, self.preset.sod).pose

    @property
    def center(self) -> tuple[float, float, float]:
        """Centre of the voxel grid, RAS mm; the origin without a volume, and for one under a transform that is not linear."""
        if not alive(self._context.scene, self.node) or self.node.GetImageData() is None:
            return 0.0, 0.0, 0.0
        size = np.array(self.node.GetImageData().GetDimensions())
        try:
            x, y, z = transform_points(ijk_to_world(self.node), (size - 1) / 2)
        except InputError:
            return 0.0, 0.0, 0.0
        return float(x), float(y), float(z)

    def view(self) -> PatientView:
        return self._view

    def worked(self) -> None:
        """An X-ray was registered: the volume is not what ends the engines, which to describe it does not prove."""
        self._restarts = 0

    def remember(self, key: str, value: Any) -> None:
        """Keep a value on the volume's node, so in the scene."""
        if alive(self._context.scene, self.node) and recall(self.node, key) != value:
            remember(self.node, key, value)

    def recall(self, key: str) -> Any:
        """A value that was kept; None if there is none."""
        return recall(self.node, key) if alive(self._context.scene, self.node) else None

    # Its life

    def tick(self) -> None:
        wanted = self.chosen
        if wanted is not self.node:
            self._select(wanted)
        elif wanted is not None:
            self._look_for_changes()
            self._belongings.keep(self.node)
            if self.ready and self._preset_shown != self._context.parameters.preset:
                self._draw()

    def forget(self) -> None:
        """Let go of the node."""
        self._reset(None)
        self._belongings.forget()
        self._context.changed.emit("patient")

    def close(self) -> None:
        """Remove the files."""
        self._files.close()

    def _select(self, node: Any) -> None:
        self._reset(node)
        if node is not None:
            self._belongings.bring(node)
            self._hand_over()
        self._context.changed.emit("patient")

    def _hand_over(self) -> None:
        """Write what the engine needs to files, and have it look at them."""
        self.key, self.file = "", None
        self._changed_at = None
        self._preset_shown = ""
        self._forget_meant()
        try:
            place = signature_of(self.node)
            self._signature = (place, self.said)
            file, self.ijk_to_ras = self._files.of(self.node, place)
            fields = self._values.request(self.node, self.folder)
            self._signature = (place, self.said)  # label maps that were made for it are no change
        except InputError as e:
            self._refuse(str(e))
            return
        except OSError as e:
            self._refuse(_("The volume cannot be handed over: {reason}.").format(reason=e.strerror or e))
            return
        matrix = self.ijk_to_ras.tolist()
        self._request = {"volume_file": str(file), "ijk_to_ras": matrix, "name": public_name(self.node), **fields}
        self._describe()

    def _forget_meant(self) -> None:
        """Remove what was handed over beside the voxels."""
        for name in ("meant_file", "labels_file"):
            if name in self._request:
                cleanup(self._request[name])
        self._request = {}

    def _describe(self) -> None:
        self._count += 1
        key = f"{self.node.GetID()}-{self._count}"
        node = self.node
        self._busy = True
        self._view = PatientView(name=node.GetName(), problem=_("Looking at the volume..."))
        self._context.ask(
            "describe_volume",
            lambda message: self._described(node, key, message),
            on_error=lambda text: self._not_described(node, key, text),
            volume=key,
            **self._request,
        )
        self._generation = self._context.generation

    def _described(self, node: Any, key: str, message: Message) -> None:
        if not self._is_latest(node, key):
            return
        f = message.fields
        self._busy = False
        self.key, self.fingerprint, self.file = key, str(f["fingerprint"]), Path(f["file"])
        if self._signature[1] == self.said:
            self._values.take_window(f["window"])
            self._signature = (self._signature[0], self.said)
        self._view = view_of(node.GetName(), f, self._values.kind)
        self._context.say(f"{node.GetName()}: {self._view.problem or self._view.check}")
        self._context.changed.emit("patient")

    def _not_described(self, node: Any, key: str, text: str) -> None:
        if self._is_latest(node, key):
            self._refuse(text)

    def _is_latest(self, node: Any, key: str) -> bool:
        """Whether an answer is that to the last question."""
        return node is self.node and key == f"{node.GetID()}-{self._count}"

    def _refuse(self, text: str) -> None:
        self._busy = False
        self.key = ""
        self._view = PatientView(name=self.node.GetName(), problem=text)
        self._context.say(text)
        self._context.changed.emit("patient")

    def _draw(self) -> None:
        """The nominal view of the present preset, with the patient's sides."""
        node, name = self.node, self._context.parameters.preset
        self._preset_shown = name
        try:
            preset = preset_named(name)
        except InputError as e:
            self._context.say(str(e))
            return

        def drawn(message: Message) -> None:
            if node is self.node and name == self._preset_shown:
                markers = {str(side): str(letter) for side, letter in message.fields["markers"].items()}
                self._view = replace(self._view, image=grey(message.arrays["image"]), markers=markers)
                self._context.changed.emit("patient")

        self._context.ask(
            "nominal",
            drawn,
            volume=self.key,
            view=preset.view,
            sod=preset.sod,
            intrinsics=preset.intrinsics.to_dict(),
            pixels=_PICTURE_PIXELS,
        )

    # Changes of the volume

    def _look_for_changes(self) -> None:
        try:
            now = (signature_of(self.node), self.said)
        except InputError as e:  # moved under a transform that is not linear
            if self._view.problem != str(e):
                self._refuse(str(e))
            return
        if now != self._signature:
            self._signature, self._changed_at = now, time.monotonic()
        elif self._changed_at is not None and time.monotonic() - self._changed_at > _SETTLED:
            self._context.say(_("The volume, or what its values are, was changed; it is read anew."))
            self._hand_over()
        elif self._generation != self._context.generation and not self._busy and self._request:
            # The engine that knew the volume has died.
            self._restarts += 1
            if self._restarts <= _RESTARTS:
                self.key = ""
                self._describe()
            else:
                self._generation = self._context.generation
                self._refuse(
                    _("The engine ended several times with this volume; see {log}, and choose it again.").format(
                        log=self._context.engine_log
                    )
                )


def signature_of(node: Any) -> tuple[Any, ...]:
    """What changes when a volume is moved or edited; InputError under a transform that is not linear."""
    image = node.GetImageData()
    return (0 if image is None else image.GetMTime(), ijk_to_world(node).tobytes())
