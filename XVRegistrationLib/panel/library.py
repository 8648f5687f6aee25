"""The models that are kept: which of them fit the present volume, preset and X-rays."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.home import list_models, models_folder, new_model_folder
from XVRegistrationLib.jobs.job_status import status
from XVRegistrationLib.jobs.training_job import find_training
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import LibraryRow
from XVRegistrationLib.registration.card import CARD, intrinsics_of, pose_range_of, read_card, view_of

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.jobs.job_status import Job
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient

_SAME_PLACE = 1e-3
_OTHER_FIELD = 1.25
"""A bank without a network is made anew for X-rays whose field of view differs by more than this factor."""
_DAMAGED = (InputError, OSError, KeyError, TypeError, ValueError)


def ready_with(training: dict[str, Any]) -> str:
    """A sentence about a model with a network, by what its card says of its training."""
    if training.get("origin"):
        return _("Ready, with a network that {program} has trained.").format(program=training["origin"])
    minutes = float(training.get("seconds", 0.0)) / 60
    return _("Ready, with a network trained for {minutes} minutes.").format(minutes=f"{minutes:.1f}")


class Library:
    """The models below the data folder."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self._made: set[Path] = set()
        """Folders that were made by this session."""

    def fits(self, folder: Path) -> bool:
        """Whether a folder holds a model of the present volume where it lies."""
        try:
            volume = read_card(folder)["volume"]
            place = np.array(volume["ijk_to_ras"], dtype=np.float64)
            same = volume["fingerprint"] == self._patient.fingerprint
            return bool(same and np.allclose(place, self._patient.ijk_to_ras, atol=_SAME_PLACE))
        except _DAMAGED:
            return False

    def folder_for(self, camera: Intrinsics | None) -> Path:
        """A folder with a model of the present volume and preset, for X-rays of this geometry, else a new one."""
        for entry in list_models(self._context.root):
            if (
                entry.fingerprint == self._patient.fingerprint
                and self.fits(entry.folder)
                and self._suits(entry.folder, camera)
            ):
                return entry.folder
        folder = new_model_folder(self._context.root, self._patient.fingerprint, self._patient.preset.view)
        self._made.add(folder)
        return folder

    def rows(self, current: Path | None) -> list[LibraryRow]:
        """All models, those of the present volume first, then the latest."""
        found = []
        for entry in list_models(self._context.root):
            trained = _("{minutes} min").format(minutes=f"{entry.minutes:.1f}") if entry.minutes else _("bank only")
            if entry.origin:
                trained = _("network of {program}").format(program=entry.origin)
            error = "" if entry.error is None else f", {entry.error:.1f} mm"
            date = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.changed))
            fits = bool(self._patient.fingerprint) and entry.fingerprint == self._patient.fingerprint
            found.append(
                LibraryRow(entry.folder, f"{entry.view}, {trained}{error}, {date}", fits, entry.folder == current)
            )
        return sorted(found, key=lambda row: not row.fits)

    def delete(self, folder: Path) -> None:
        """Remove a model from the disk; InputError for one that is being trained, or is not of the library."""
        if folder.parent.resolve() != models_folder(self._context.root).resolve():
            raise InputError(_("Only models of the library can be deleted."))
        job = find_training(folder, self._context.root)
        if job is not None and _active(job):
            raise InputError(_("That model is being trained; cancel its training first."))
        (folder / CARD).unlink(missing_ok=True)  # first, so that nobody takes half a model for one
        shutil.rmtree(folder, ignore_errors=True)

    def discard(self, folder: Path) -> None:
        """Remove a bank that this session made and that turned out not to fit the X-rays."""
        if folder in self._made:
            self._made.discard(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _suits(self, folder: Path, camera: Intrinsics | None) -> bool:
        """Whether a model was made for the present preset, and for X-rays of this geometry."""
        try:
            card = read_card(folder)
            preset, view, poses, made_for = (
                self._patient.preset,
                view_of(card),
                pose_range_of(card),
                intrinsics_of(card),
            )
        except _DAMAGED:
            return False
        made = (view.name, view.sod, tuple(poses.rotation), tuple(poses.translation))
        if made != (preset.view, preset.sod, preset.rotation, preset.translation):
            return False
        return camera is None or bool(card["network"]) or same_field(camera, made_for)


def same_field(a: Intrinsics, b: Intrinsics) -> bool:
    """Whether two cameras see about the same, as far as a bank of 32 px can tell."""
    ratios = [(x / a.sdd) / (y / b.sdd) for x, y in zip(a.extent, b.extent, strict=True)]
    return all(1 / _OTHER_FIELD < ratio < _OTHER_FIELD for ratio in ratios)


def saved_at(folder: Path) -> float:
    """When the model of a folder was last saved, seconds since 1970; 0 where there is none."""
    try:
        return (folder / CARD).stat().st_mtime
    except OSError:
        return 0.0


def _active(job: Job) -> bool:
    try:
        return status(job).active
    except InputError:
        return False
