"""From a CT to registered X-rays: everything that the panel does, without any widget.

A `Session` belongs to a scene and a parameter node. Its long work runs in child processes (the engine and training jobs), so every
method returns at once; `tick()`, called many times a second by a timer, takes in what they report. A script calls `wait()`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.imaging.anatomies import load_presets
from XVRegistrationLib.panel.exporting import can_export, export_registered
from XVRegistrationLib.panel.session_targets import TargetSession
from XVRegistrationLib.scene.reviews import read_review

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.imaging.anatomies import Preset
    from XVRegistrationLib.panel.report_task import PrintPdf
    from XVRegistrationLib.panel.views import LibraryRow, ModelView, PatientView, RelationChoice
    from XVRegistrationLib.registration.review import Review


class Session(TargetSession):
    """The work on one scene. All methods return at once; those that do something raise InputError when they cannot.

    Parameters are read anew at every tick, so a change of any of them takes effect without a call. Nothing of the scene is
    observed except its closing.
    """

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
        self._model.choose(Path(folder).absolute())

    def delete_model(self, folder: str | Path) -> None:
        """Delete a model of the library from the disk; the one in use is replaced by a new bank."""
        self._model.delete(Path(folder).absolute())

    # 4 Register

    def register(self, nodes: Sequence[Any] | None = None) -> None:
        """Register these X-rays, or all checked ones that are complete, one after the other."""
        self._registering.register(nodes)

    def register_run(self, node: Any) -> None:
        """Register all frames of a run in turn; each keeps its own pose and result, which `show_frame` shows."""
        self._registering.register_run(node)

    def relations(self) -> list[RelationChoice]:
        """The ways to know how the cameras of the checked X-rays stand to each other, and why one is not possible."""
        return self._joint.relations()

    @property
    def relation(self) -> str:
        """The way that `register_together` takes: the parameter `relation`, or with "" the surest that is possible."""
        return self._joint.relation

    def register_together(self, nodes: Sequence[Any] | None = None) -> None:
        """Find one pose for these X-rays, or all checked ones, of a patient who did not move; the verdict is on all of them.

        Where all of them are runs of as many frames, frame after frame: each frame with those of its number, as runs that
        were recorded together have them. A run beside a single X-ray takes part with the frame that is shown.

        With the parameter `estimateGeometry`, also the distance source-detector and the principal point of each, but of runs.
        """
        self._joint.register(nodes)

    def refine_from_here(self, node: Any = None) -> None:
        """Register an X-ray (else the current one) from where its pose transform is now, and from nowhere else."""
        self._registering.refine_from_here(node)

    def cancel_registration(self) -> None:
        """Stop the registration under way and empty the queue."""
        self._joint.cancel()
        self._registering.cancel()

    def registration_progress(self) -> float | None:
        """Share of the queue that is done, 0 to 1; None while nothing is registered."""
        return self._registering.fraction if self._joint.fraction is None else self._joint.fraction

    def export(
        self,
        folder: str | Path,
        nodes: Sequence[Any] | None = None,
        *,
        keep_identity: bool = False,
        bundle: bool = True,
    ) -> list[Path]:
        """Write these X-rays, or all that are registered and not rejected, for other programs; return the files, of which README.txt tells.

        Transforms, matrices, calibrations, tables, and the structures: as label map, picture and, where the X-ray's DICOM
        file is known and highdicom is installed, DICOM segmentation. Pictures show what the panel draws; tables, label
        maps and segmentations hold all targets and structures. With `bundle` also the whole
        scene, without X-rays that are rejected or not registered. Nothing names the patient but, with `keep_identity`, the DICOM segmentations and the scene, which then is
        as it is.
        """
        return export_registered(
            self._context, self._xrays, self._structures, Path(folder).absolute(), nodes, keep_identity, bundle
        )

    # 7 Review and report

    def review(self, node: Any, decision: str | None = None, note: str | None = None) -> None:
        """Decide on an X-ray ("accepted", "rejected" or "open"), and note something; what is None stays. Kept in the scene.

        A decision holds for the pose that is registered now: at another one the X-ray is open again.
        """
        self._reviewing.review(node, decision, note)

    def review_of(self, node: Any) -> Review:
        """The decision on an X-ray that holds now, and the note."""
        return read_review(node).review

    def report(
        self, path: str | Path, *, keep_identity: bool = False, pdf: PrintPdf | None = None, files: bool = True
    ) -> None:
        """Write a page about all X-rays to `path` (.html), with its pictures inside, and the same for programs (.json) beside it.

        Rejected ones are listed by themselves, without pose and pictures. Pictures show the structures and targets that the
        panel draws, and the page says what is left out; its tables have all targets. Nothing names the patient unless `keep_identity`.
        `pdf` prints a PDF beside it step by step (`panel.widgets.pdf.print_pdf`); with `files` the folder NAME-files beside it
        holds what `export` writes of its X-rays, without a scene. Until all of it is there nothing is written.
        """
        self._reporting.report(Path(path).absolute(), keep_identity, pdf, files)

    def cancel_report(self) -> None:
        """Stop the report under way; what an earlier one left stays as it was."""
        self._reporting.cancel()

    def report_progress(self) -> float | None:
        """Share of the report that is done, 0 to 1; None while none is written."""
        return self._reporting.fraction

    # Why a button is disabled: a sentence for its tooltip, "" if it is enabled

    def can_train(self) -> str:
        return self._model.can_train()

    def can_cancel_training(self) -> str:
        return self._model.job.can_cancel()

    def can_resume_training(self) -> str:
        return self._model.job.can_resume()

    def can_register(self) -> str:
        return self._registering.can_register()

    def can_register_together(self, nodes: Sequence[Any] | None = None) -> str:
        return self._joint.can_register(nodes)

    def can_register_run(self, node: Any) -> str:
        return self._registering.can_register([node])

    def can_cancel_registration(self) -> str:
        return "" if self._joint.busy else self._registering.can_cancel()

    def can_accept(self, node: Any) -> str:
        return self._reviewing.can_accept(node)

    def can_review(self, node: Any) -> str:
        return self._reviewing.can_review(node)

    def can_report(self) -> str:
        return self._reporting.can_report()

    def can_cancel_report(self) -> str:
        return self._reporting.can_cancel()

    def can_export(self) -> str:
        return can_export(self._context, self._xrays)

    def can_refine(self) -> str:
        return self._registering.can_refine()
