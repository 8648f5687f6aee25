"""The chosen volume: handed to the engine, looked at, and remembered with what belongs to it."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.panel.belongings import Belongings
from XVRegistrationLib.panel.context import alive, grey
from XVRegistrationLib.panel.dicom_source import public_name
from XVRegistrationLib.panel.files import session_folder
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.presets import load_presets, preset_named
from XVRegistrationLib.panel.views import PatientView
from XVRegistrationLib.scene.handover import cleanup, write_volume
from XVRegistrationLib.scene.patients import recall, remember
from XVRegistrationLib.scene.transforms import ijk_to_world

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.presets import Preset

_PICTURE_PIXELS = 192
_SETTLED = 0.5
"""Seconds without a change after which a volume that was moved or edited is handed over anew."""
_RESTARTS = 2
"""Engines in a row that may die on the same volume."""


class Patient:
    """The volume that X-rays are registered to."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder: Path | None = None
        self._files: dict[Any, tuple[tuple[Any, ...], Path, NDArray[np.float64]]] = {}
        self._count = 0
        self._preset_shown = ""
        self._belongings = Belongings(context)
        self._reset(None)

    def _reset(self, node: Any) -> None:
        self.node = node
        """vtkMRMLScalarVolumeNode, or None."""
        self.key = ""
        """What the engine knows the volume by; "" until it was looked at."""
        self.fingerprint = ""
        self.file: Path | None = None
        """The voxels as .npy, for the engine and for trainings."""
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
        """Centre of the voxel grid, RAS mm; the origin without a volume."""
        if not alive(self._context.scene, self.node) or self.node.GetImageData() is None:
            return 0.0, 0.0, 0.0
        size = np.array(self.node.GetImageData().GetDimensions())
        x, y, z = transform_points(ijk_to_world(self.node), (size - 1) / 2)
        return float(x), float(y), float(z)

    def view(self) -> PatientView:
        return self._view

    def worked(self) -> None:
        """An X-ray was registered: the volume is not what ends the engines.

        To describe it and to load a model do not prove that, so they do not count; else an engine that ends at the
        first rendering would be started for ever.
        """
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
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._files.clear()

    def _select(self, node: Any) -> None:
        self._reset(node)
        if node is not None:
            self._belongings.bring(node)
            self._hand_over()
        self._context.changed.emit("patient")

    def _hand_over(self) -> None:
        """Write the voxels to a file, and have the engine look at them."""
        self.key = ""
        self._changed_at = None
        self._preset_shown = ""
        try:
            self._signature = self._signature_now()
            self.file, self.ijk_to_ras = self._file_of_node()
        except InputError as e:
            self._refuse(str(e))
            return
        except OSError as e:
            self._refuse(_("The volume cannot be handed over: {reason}.").format(reason=e.strerror or e))
            return
        self._describe()

    def _file_of_node(self) -> tuple[Path, NDArray[np.float64]]:
        """The voxels' file, written unless it is there already, and IJK to RAS, mm."""
        for node, (_signature, path, _matrix) in list(self._files.items()):
            if not alive(self._context.scene, node) or (node is self.node and _signature != self._signature):
                cleanup(path)
                del self._files[node]
        if self.node not in self._files:
            self._files[self.node] = (self._signature, *write_volume(self.node, self.folder))
        return self._files[self.node][1:]

    @property
    def folder(self) -> Path:
        """Where files for the engine are written; removed when the session closes."""
        if self._folder is None:
            self._folder = session_folder(self._context.root)
        return self._folder

    def _describe(self) -> None:
        self._count += 1
        key = f"{self.node.GetID()}-{self._count}"
        node = self.node
        self._busy = True
        self._view = PatientView(name=node.GetName(), problem=_("Looking at the volume..."))
        self._context.ask(
            "describe_volume",
            lambda message: self._described(node, key, message),
            on_error=lambda text: self._not_described(node, text),
            volume=key,
            volume_file=str(self.file),
            ijk_to_ras=self.ijk_to_ras.tolist(),
            name=public_name(node),
        )
        self._generation = self._context.generation

    def _described(self, node: Any, key: str, message: Message) -> None:
        if node is not self.node:
            return
        f = message.fields
        self._busy = False
        self.key, self.fingerprint = key, str(f["fingerprint"])
        width, depth, height = (f"{float(n):.0f}" for n in f["field_of_view_mm"])
        voxel = " x ".join(f"{float(s):.2f}" for s in f["spacing"])
        ok = bool(f["ok"])
        self._view = PatientView(
            name=node.GetName(),
            kind=str(f["kind"]),
            size_text=_("{size} mm, voxels {voxel} mm").format(size=f"{width} x {depth} x {height}", voxel=voxel),
            check=str(f["check"]),
            ok=ok,
            problem="" if ok else str(f["check"]),
        )
        self._context.say(f"{node.GetName()}: {f['check']}")
        self._context.changed.emit("patient")

    def _not_described(self, node: Any, text: str) -> None:
        if node is self.node:
            self._refuse(text)

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
                v = self._view
                markers = {str(side): str(letter) for side, letter in message.fields["markers"].items()}
                self._view = PatientView(
                    v.name, v.kind, v.size_text, v.check, v.ok, v.problem, grey(message.arrays["image"]), markers
                )
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

    def _signature_now(self) -> tuple[Any, ...]:
        return signature_of(self.node)

    def _look_for_changes(self) -> None:
        try:
            now = self._signature_now()
        except InputError as e:  # moved under a transform that is not linear
            if self._view.problem != str(e):
                self._refuse(str(e))
            return
        if now != self._signature:
            self._signature, self._changed_at = now, time.monotonic()
        elif self._changed_at is not None and time.monotonic() - self._changed_at > _SETTLED:
            self._context.say(_("The volume was changed; it is read anew."))
            self._hand_over()
        elif self._generation != self._context.generation and not self._busy and self.file is not None:
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
