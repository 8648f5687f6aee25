"""The patient's model: its bank in seconds, its training as a job, and the library it is kept in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import NOT_ASKED
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.library import Library, ready_with, same_field, saved_at
from XVRegistrationLib.panel.training import Training
from XVRegistrationLib.panel.views import ModelView
from XVRegistrationLib.registration.card import intrinsics_of, read_card

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.views import LibraryRow

_RETRY_SECONDS = 15.0
"""Between tries to make a model where that failed: a disk that was full may have room again."""
_RELOAD_SECONDS = 30.0
"""A network that is being trained is taken anew at most this often."""


class Model:
    """The model of the present volume and preset."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self._library = Library(context, patient)
        self.job = Training(context, patient)
        """Its training."""
        self.camera: Callable[[], Intrinsics | None] = lambda: None
        """Geometry of the X-rays that are to be registered, if there are any."""
        self._used = ""  # the folder that was put into the parameters from here, not by the user
        self._token = 0  # of the request whose answer counts
        self._reset()

    def _reset(self) -> None:
        self._token += 1  # an answer that is on its way is no longer wanted, whether it can be cancelled or not
        self._wanted: tuple[Any, ...] = ()
        self._folder: Path | None = None
        self._card: dict[str, Any] = {}
        self._stamp = 0.0
        self._loaded_at = 0.0  # when the last answer came
        self._request: int | None = None
        self._fraction: float | None = None
        self.problem = ""
        """Why there is none, a sentence; empty if nothing is wrong."""
        self.ready = False
        """Whether the engine holds it."""
        self.network = self.attention = False
        """Whether it has a network, and one with attention."""
        self._doubts: tuple[str, ...] = ()  # sentences on what speaks against the volume, for the preset

    @property
    def folder(self) -> Path | None:
        return self._folder

    @property
    def busy(self) -> bool:
        return self._request is not None or (self._patient.ready and self._wanted != self._wants())

    # Its life

    def tick(self) -> None:
        if not self._patient.ready:
            if self._wanted:
                self.forget()
            return
        if self._wanted != self._wants():
            self._prepare()
        elif self.problem and time.monotonic() - self._loaded_at > _RETRY_SECONDS:
            self._prepare(self._folder)
        self.job.tick()
        self._take_checkpoint()

    def forget(self) -> None:
        """Let go of the model; a training goes on unwatched."""
        if self._request is not None:
            self._context.cancel(self._request)
        self.job.watch(None)
        self._reset()
        self._context.changed.emit("model")

    def _wants(self) -> tuple[Any, ...]:
        """What decides which model is used; the folder only where the user or the scene names one."""
        p = self._context.parameters
        chosen = p.modelFolder if p is not None else ""
        return self._patient.key, self._patient.preset.name, chosen

    def _prepare(self, folder: Path | None = None) -> None:
        """Load the model of a folder, or of the one that fits best, or make its bank."""
        if self._request is not None:
            self._context.cancel(self._request)
        self._reset()
        preset = self._patient.preset
        try:
            self._folder = folder or self._find_folder()
        except OSError as e:
            self._wanted = self._wants()
            self._failed(_("The model cannot be kept: {reason}.").format(reason=e.strerror or e))
            return
        self._use(self._folder)
        self._fraction = 0.0
        self._ask(
            "prepare",
            anatomy=preset.name,
            view=preset.view,
            sod=preset.sod,
            intrinsics=(self.camera() or preset.intrinsics).to_dict(),
            rotation=list(preset.rotation),
            translation=list(preset.translation),
        )
        self.job.watch(self._folder)
        self._context.changed.emit("model")

    def _ask(self, operation: str, **fields: Any) -> None:
        self._token += 1
        token = self._token
        self._request = self._context.ask(
            operation,
            lambda message: self._prepared(message) if token == self._token else None,
            on_error=lambda text: self._failed(text) if token == self._token else None,
            on_progress=lambda fields: self._progress(fields) if token == self._token else None,
            volume=self._patient.key,
            model=str(self._folder),
            **fields,
        )
        if self._request == NOT_ASKED:
            self._request = None

    def _use(self, folder: Path) -> None:
        """Name the folder in the parameters and on the volume."""
        self._used = str(folder)
        self._context.parameters.modelFolder = self._used
        self._patient.remember(_memory(self._patient.preset.name), self._used)
        self._wanted = self._wants()

    def _find_folder(self) -> Path:
        """The model that somebody chose or that was used last, else one of the library, else a new folder."""
        chosen = self._context.parameters.modelFolder
        if chosen and chosen != self._used:
            if self._library.fits(Path(chosen)):
                return Path(chosen)
            self._context.say(_("{folder} holds no model of this volume; another is used.").format(folder=chosen))
        last = self._patient.recall(_memory(self._patient.preset.name))
        if last and self._library.fits(Path(last)):
            return Path(last)
        return self._library.folder_for(self.camera())

    # What the engine says

    def _progress(self, fields: dict[str, Any]) -> None:
        self._fraction = float(fields["done"]) / max(float(fields["total"]), 1.0)
        self._context.changed.emit("model")

    def _prepared(self, message: Message) -> None:
        assert self._folder is not None
        try:
            card = read_card(self._folder)
        except InputError as e:  # deleted, or damaged, since the engine read it
            self._failed(str(e))
            return
        # Who hears of the model in what follows looks at its card.
        self._card = card
        was_ready, had_network = self.ready, self.network
        self._request, self._fraction, self.problem = None, None, ""
        self.ready, self.network, self.attention = True, *(bool(message.fields[k]) for k in ("network", "attention"))
        self._loaded_at = time.monotonic()
        self._doubts = tuple(message.fields.get("doubts", self._doubts))
        if not was_ready:
            self._stamp = saved_at(self._folder)
            for sentence in (*self._doubts, _("The model is ready: X-rays can be registered.")):
                self._context.say(sentence)
        elif self.network and not had_network:
            self._context.say(_("The network that is being trained is in use from now on."))
        self._context.changed.emit("model")

    def _failed(self, text: str) -> None:
        self._request, self._fraction = None, None
        if not self.ready:
            self.problem, self._loaded_at = text, time.monotonic()
        if text != self._context.status:
            self._context.say(text)
        self._context.changed.emit("model")

    def _take_checkpoint(self) -> None:
        """Have the engine take the network as soon as there is one, then now and then, and at the end."""
        if not self.ready or self._request is not None or self._folder is None:
            return
        due = not self.network or not self.job.running or time.monotonic() - self._loaded_at > _RELOAD_SECONDS
        if not due or saved_at(self._folder) == self._stamp:
            return
        self._stamp = saved_at(self._folder)
        self._ask("load_model")

    def fit_camera(self) -> None:
        """Make the bank anew where X-rays of quite another field of view have come, unless a network was trained."""
        camera = self.camera()
        if camera is None or not self.ready or self._request is not None or self._card["network"] or self.job.running:
            return
        if not same_field(camera, intrinsics_of(self._card)):
            self._context.say(_("The bank is made for the geometry of the X-rays."))
            before = self._folder
            self._prepare(self._library.folder_for(camera))
            if before is not None and before != self._folder:
                self._library.discard(before)

    # Training

    def can_train(self) -> str:
        if not self._patient.ready:
            return self._patient.view().problem or _("Choose the CT.")
        if self.job.running:
            return _("A training is under way.")
        if not self.ready or self._folder is None:
            return self.problem or _("Wait until the bank is ready.")
        if not self._context.parameters.minutes > 0:
            return _("Give the training more than 0 minutes.")
        return ""

    def start_training(self) -> None:
        obstacle = self.can_train()
        if obstacle or self._folder is None:
            raise InputError(obstacle)
        self.job.start(self._folder)

    # The library

    def library(self) -> list[LibraryRow]:
        return self._library.rows(self._folder)

    def choose(self, folder: Path) -> None:
        read_card(folder)
        if not self._patient.ready:
            raise InputError(self._patient.view().problem or _("Choose the CT."))
        if not self._library.fits(folder):
            raise InputError(_("That model was made for another volume, or for this one at another place."))
        self._prepare(folder)

    def delete(self, folder: Path) -> None:
        current = folder == self._folder
        if current and self.job.running:
            raise InputError(_("Cancel the training first."))
        self._library.delete(folder)
        if current:
            self._context.parameters.modelFolder = ""
            self._prepare()
        self._context.changed.emit("model")

    # What is shown

    def view(self) -> ModelView:
        status = self.job.status
        history = (self._card.get("training") or {}).get("history") or []
        error = float(history[-1]["validation"]) if history else None
        if self.job.running and status is not None and status.validation is not None:
            error = status.validation
        state, text, fraction, eta = self._state()
        return ModelView(
            state,
            " ".join([text, *self._doubts]),
            fraction,
            eta,
            str(self._folder or ""),
            self.ready,
            self.network,
            float((self._card.get("training") or {}).get("seconds", 0.0)) / 60,
            self.job.job_id,
            "" if status is None else status.state,
            error,
        )

    def _state(self) -> tuple[str, str, float | None, float | None]:
        if self.problem:
            return "failed", self.problem, None, None
        status = self.job.status
        if status is not None and self.job.running:
            share = min(status.elapsed / status.budget, 1.0) if status.budget else 0.0
            return "training", status.message or _("The network is being trained."), share, status.eta
        if self._fraction is not None:
            return "preparing", _("The bank is being made..."), self._fraction, None
        if not self.ready:
            problem = self._patient.view().problem
            return "none", _("There is no model yet. {problem}").format(problem=problem).strip(), None, None
        if self.network:
            return "network", ready_with(self._card["training"]), None, None
        return "bank", _("Ready, with its bank. Training a network makes it better."), None, None


def _memory(preset: str) -> str:
    return f"model.{preset}"
