"""From a CT to registered X-rays: everything that the panel does, without any widget.

A `Session` belongs to a scene and a parameter node. Its long work runs in child processes (the engine and training jobs), so every
method returns at once; `tick()`, called many times a second by a timer, takes in what they report. A script calls `wait()`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from XVRegistrationLib.imaging.anatomies import load_presets
from XVRegistrationLib.panel.context import Context
from XVRegistrationLib.panel.exporting import export_registered
from XVRegistrationLib.panel.model import Model
from XVRegistrationLib.panel.patient import Patient
from XVRegistrationLib.panel.registering import Registering
from XVRegistrationLib.panel.viewing import Viewing
from XVRegistrationLib.panel.xray_images import XrayImages
from XVRegistrationLib.panel.xrays import Xrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from XVRegistrationLib.imaging.anatomies import Preset
    from XVRegistrationLib.panel.dicom_source import Frame
    from XVRegistrationLib.panel.signal import Signal
    from XVRegistrationLib.panel.views import LibraryRow, ModelView, PatientView, StepsView, XrayRow
    from XVRegistrationLib.scene.ignored import Rectangle


class Session:
    """The work on one scene. All methods return at once; those that do something raise InputError when they cannot.

    Parameters are read anew at every tick, so a change of any of them takes effect without a call. Nothing of the scene is
    observed except its closing.
    """

    def __init__(self, scene: Any, parameters: Any, *, root: Path | None = None) -> None:
        """`parameters`: the parameter node, `Parameters`, or None for now. `root`: the library's folder, else the user's."""
        self._context = Context(scene, parameters, root)
        self._patient = Patient(self._context)
        self._model = Model(self._context, self._patient)
        self._xrays = Xrays(self._context, self._patient)
        self._model.camera = self._xrays.camera
        self._viewing = Viewing(self._context, self._patient, self._xrays)
        self._registering = Registering(self._context, self._patient, self._model, self._xrays, self._viewing)
        self._context.changed.connect(self._on_change)
        self._images = XrayImages(self._context, self._xrays, self._registering, self._viewing)
        self._closing = scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, lambda *_event: self.scene_closing())

    # What there is

    @property
    def changed(self) -> Signal[str]:
        """Emits "patient", "model", "xrays", "status", "view" or "steps" when that is to be shown anew."""
        return self._context.changed

    @property
    def scene(self) -> Any:
        return self._context.scene

    @property
    def parameters(self) -> Any:
        """The parameter node in use; None between two scenes."""
        return self._context.parameters

    def set_parameters(self, parameters: Any) -> None:
        """Work with another parameter node; with None, rest (jobs go on)."""
        self._context.parameters = parameters

    def say(self, text: str) -> None:
        """Make a sentence the status, and write it to the log."""
        self._context.say(text)

    @property
    def status(self) -> str:
        """The last sentence for the user."""
        return self._context.status

    @property
    def log(self) -> list[str]:
        """All sentences so far, with their time, oldest first (the last 500)."""
        return list(self._context.log)

    @property
    def busy(self) -> bool:
        """Whether something is under way that `wait` would wait for: anything but a training."""
        return (
            self._context.busy or self._patient.busy or self._model.busy or self._registering.busy or self._viewing.busy
        )

    @property
    def training(self) -> bool:
        """Whether a training of the present model is under way."""
        return self._model.job.running

    # Its life

    def tick(self) -> None:
        """Take in what the child processes report and what the user changed; takes some milliseconds."""
        if self.scene.IsBatchProcessing():
            return  # a scene is being read or closed, and shows its progress through the event loop
        failed: Exception | None = None
        parts = (self._patient, self._model, self._xrays, self._registering, self._viewing)
        for step in (self._context.poll, *(part.tick for part in parts)):
            try:
                step()
            except Exception as e:  # a defect of one part; the others must not stand still by it
                failed = failed or e
        if failed is not None:
            raise failed

    def wait(self, timeout: float | None = None, *, training: bool = False) -> None:
        """Tick until nothing is under way; with `training`, until that has ended too. TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        self.tick()
        while self.busy or (training and self.training):
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"Still at work after {timeout} s: {self.status}")
            time.sleep(0.02)
            self.tick()

    def scene_closing(self) -> None:
        """Forget all nodes and drop what was asked of the engine; called by itself when the scene closes. Jobs go on."""
        self._context.drop_requests()
        for part in (self._images, self._registering, self._viewing, self._xrays, self._model, self._patient):
            part.forget()

    def close(self) -> None:
        """End the engine and observe nothing any more; training jobs go on."""
        if self._closing is not None:
            self._context.scene.RemoveObserver(self._closing)
            self._closing = None
        self.scene_closing()
        self._patient.close()
        self._context.close()

    def _on_change(self, topic: str) -> None:
        if topic == "xrays":
            self._model.fit_camera()

    # 1 Patient

    def presets(self) -> list[Preset]:
        """The anatomies and views to choose from, by `Preset.name`."""
        return list(load_presets().values())

    def patient_view(self) -> PatientView:
        """What was understood of the volume."""
        return self._patient.view()

    # 2 Model

    def model_view(self) -> ModelView:
        """The model's state, and how far its training is."""
        return self._model.view()

    def start_training(self) -> None:
        """Train for the parameter `minutes` in a process of its own that outlives Slicer."""
        self._model.start_training()

    def cancel_training(self) -> None:
        """Stop the training; its last checkpoint stays in use."""
        self._model.job.cancel()

    def resume_training(self) -> None:
        """Go on with a training that was cancelled or interrupted; to `minutes` in all if it was finished."""
        self._model.job.resume()

    def training_curve(self) -> list[tuple[float, float, float | None]]:
        """(seconds, loss, validation error in mm or None) of the present training, oldest first."""
        return self._model.job.curve()

    def training_chart(self) -> Any:
        """vtkMRMLPlotChartNode of the present volume's training, or None."""
        return self._model.job.chart

    def library(self) -> list[LibraryRow]:
        """All models of the library, those of the present volume first."""
        return self._model.library()

    def choose_model(self, folder: str | Path) -> None:
        """Use this model for the present volume."""
        self._model.choose(Path(folder))

    def delete_model(self, folder: str | Path) -> None:
        """Delete a model of the library from the disk; the one in use is replaced by a new bank."""
        self._model.delete(Path(folder))

    # 3 X-rays

    def rows(self) -> list[XrayRow]:
        """The X-rays of the present volume, and those that belong to none yet, in the order in which they were added."""
        return self._registering.rows()

    def add_files(
        self, paths: Iterable[str | Path], frame: Frame | None = None, *, subtract: bool | None = None
    ) -> None:
        """Read X-ray files and add each to the scene; what cannot be read is said in `status`, and the others go on.

        Of a run, `frame` is the one to add, counted from 0, or "min", "max" or "mean" over all; without it the run is
        added with all its frames, of which the one shown is the X-ray. `subtract` subtracts the mask frames that a DICOM
        run names, which leaves the contrast medium; without it that is done where the volume is vessels and the file names
        some.
        """
        self._xrays.add_files([Path(p) for p in paths], frame, subtract)

    def add_nodes(self, nodes: Iterable[Any], frame: Frame | None = None) -> None:
        """Add copies of volume nodes of the scene; what came from DICOM is read anew from its file.

        Of a sequence the frame that is shown is added, of a run that was loaded as a volume all frames, if `frame` does
        not say otherwise: as in `add_files`, or "run" for all frames of a sequence.
        """
        self._xrays.add_nodes(list(nodes), frame)

    def read_again(
        self,
        node: Any,
        *,
        frame: Frame | None = None,
        subtract: bool | None = None,
        file: str | Path | None = None,
    ) -> None:
        """Show another frame of an X-ray's file, counted from 0, "min", "max" or "mean" over all, or "run" for all of them,
        subtracted or not; what is None stays as it is. The X-ray keeps its place and loses its registrations.

        `file` says where it is, after its scene was loaded. Raises InputError where the file is not known or names no mask.
        """
        self._images.read_again(node, frame, subtract, None if file is None else Path(file))

    def file_of(self, node: Any) -> Path | None:
        """The file of an X-ray, where that is known and still there."""
        return self._xrays.files.of(node)

    def show_steps(self, node: Any) -> None:
        """Make the pictures of what is done to an X-ray before it is compared; `steps` has them as soon as they are there."""
        self._images.show_steps(node)

    @property
    def steps(self) -> StepsView | None:
        """What `show_steps` was asked for last: as stored, as understood, as line integrals, and what of it counts."""
        return self._images.steps

    def ignore(self, node: Any, rectangles: Sequence[Sequence[float]]) -> None:
        """Let these rectangles of an X-ray, (column, row, width, height) in px as stored, not count, and no others.

        They are regions of interest in the scene, which can be dragged in the X-ray's view.
        """
        self._images.ignore(node, rectangles)

    def ignore_another(self, node: Any) -> None:
        """Put one more rectangle into the middle of an X-ray, for the user to drag where it belongs."""
        self._images.ignore_another(node)

    def ignored(self, node: Any) -> list[Rectangle]:
        """The rectangles of an X-ray that do not count, where they are now."""
        return self._images.ignored(node)

    def show_frame(self, node: Any, item: int) -> None:
        """Show this frame of a run, counted from 0: from now on it is the one that is registered and drawn on."""
        self._xrays.show_frame(node, item)

    def candidates(self) -> list[Any]:
        """Volume nodes of the scene that `add_nodes` could take."""
        return self._xrays.candidates()

    def set_checked(self, node: Any, checked: bool) -> None:
        """Whether `register` takes this X-ray; kept in the scene."""
        self._xrays.set_checked(node, checked)

    def remove(self, node: Any) -> None:
        """Remove an X-ray and everything that belongs to it from the scene."""
        self._registering.remove(node)

    def complete_geometry(
        self,
        node: Any,
        *,
        sdd: float | None = None,
        spacing: tuple[float, float] | None = None,
        mirrored: bool | None = None,
        dense_is_bright: bool | None = None,
    ) -> None:
        """Set how an X-ray was taken (distance source-detector and spacing in mm); what is None stays as it is.

        Also corrects an X-ray that is complete. As soon as nothing is missing the X-ray is placed in the scene.
        """
        self._xrays.complete_geometry(node, sdd, spacing, mirrored, dense_is_bright)

    # 4 Register

    def register(self, nodes: Sequence[Any] | None = None) -> None:
        """Register these X-rays, or all checked ones that are complete, one after the other."""
        self._registering.register(nodes)

    def register_run(self, node: Any) -> None:
        """Register all frames of a run in turn; each keeps its own pose and result, which `show_frame` shows."""
        self._registering.register_run(node)

    def refine_from_here(self, node: Any = None) -> None:
        """Register an X-ray (else the current one) from where its pose transform is now, and from nowhere else."""
        self._registering.refine_from_here(node)

    def cancel_registration(self) -> None:
        """Stop the registration under way and empty the queue."""
        self._registering.cancel()

    def registration_progress(self) -> float | None:
        """Share of the queue that is done, 0 to 1; None while nothing is registered."""
        return self._registering.fraction

    def export(
        self,
        folder: str | Path,
        nodes: Sequence[Any] | None = None,
        *,
        keep_identity: bool = False,
        bundle: bool = True,
    ) -> list[Path]:
        """Write these X-rays, or all that are registered, for other programs; return the files, of which README.txt tells.

        Transforms, matrices, calibrations, tables, and the structures that are drawn: as label map, picture and, where
        the X-ray's DICOM file is known and highdicom is installed, DICOM segmentation. With `bundle` also the whole
        scene. Nothing names the patient but, with `keep_identity`, the DICOM segmentations and the scene, which then is
        as it is.
        """
        return export_registered(self._context, self._xrays, Path(folder), nodes, keep_identity, bundle)

    # 5 See it

    def show(self, node: Any) -> None:
        """Make an X-ray the current one: the one whose DRR follows its pose, and that the X-ray view shows."""
        self._viewing.show(node)

    def attach_view(self, slice_node: Any, composite_node: Any) -> None:
        """Show the current X-ray in this slice view from now on; with None, None, in no view."""
        self._viewing.attach(slice_node, composite_node)

    # Why a button is disabled: a sentence for its tooltip, "" if it is enabled

    def can_train(self) -> str:
        return self._model.can_train()

    def can_cancel_training(self) -> str:
        return self._model.job.can_cancel()

    def can_resume_training(self) -> str:
        return self._model.job.can_resume()

    def can_add_xrays(self) -> str:
        return self._xrays.can_add()

    def can_read_again(self, node: Any) -> str:
        return self._images.can_read_again(node)

    def can_subtract(self, node: Any) -> str:
        return self._images.can_subtract(node)

    def can_ignore(self, node: Any) -> str:
        return self._images.can_ignore(node)

    def can_register(self) -> str:
        return self._registering.can_register()

    def can_register_run(self, node: Any) -> str:
        return self._registering.can_register([node])

    def can_cancel_registration(self) -> str:
        return self._registering.can_cancel()

    def can_refine(self) -> str:
        return self._registering.can_refine()
