"""Many patients, made small once, kept on disk, and read a few at a time: together they may be larger than memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing, write_json
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid, matched_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.training.preregistration import Placement

FORMAT, FORMAT_VERSION = "xvregistration prepared volume", 1
_AT_ONCE = 4
"""Patients of whom a batch is made: more cost time between renders, fewer make a batch one-sided."""
_BATCHES = 4
"""After so many batches one patient in memory makes room for another."""
_MEMORY = 1 << 30
"""Bytes of 16 bit voxels that are kept in memory."""


@dataclass(frozen=True, eq=False)
class PreparedPatient:
    """A patient's densities on disk, lying as the template does."""

    file: Path
    """.npy (K, J, I) uint16."""
    unit: float
    """What one of a voxel's value is, 1/mm."""
    grid_to_template: NDArray[np.float64]
    """(4, 4): index (i, j, k) -> the template's RAS, mm."""
    fingerprint: str
    """Of the volume that it was made of."""

    def grid(self) -> DensityGrid:
        """The densities, read now. InputError for a file that is missing or damaged."""
        try:
            codes = np.load(self.file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as e:
            raise InputError(f"{self.file} cannot be read ({e}); remove it, and it is made again.") from e
        return DensityGrid(torch.from_numpy(codes), self.grid_to_template, self.unit)


def prepare_patient(stem: Path, volume: Volume, placement: Placement, footprint: float) -> PreparedPatient:
    """Write `stem`.npy and then `stem`.json: the volume with voxels of up to `footprint` mm, as it lies in the template."""
    grid = matched_to(density_grid(volume), footprint)
    codes, unit = grid.codes
    file = stem.with_name(f"{stem.name}.npy")
    with replacing(file) as temporary:
        np.save(temporary, codes.cpu().numpy(), allow_pickle=False)
    patient = PreparedPatient(file, unit, placement.to_template @ grid.grid_to_ras, volume.fingerprint)
    card = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fingerprint": patient.fingerprint,
        "unit": unit,
        "grid_to_template": patient.grid_to_template.tolist(),
        "to_template": placement.to_template.tolist(),
        "similarity": placement.similarity,
        "cover": placement.cover,
        "left_out": None,
    }
    write_json(stem.with_name(f"{stem.name}.json"), card)
    return patient


def leave_out(stem: Path, why: str) -> None:
    """Write `stem`.json: this volume is not used, for this reason."""
    card = {"format": FORMAT, "format_version": FORMAT_VERSION, "left_out": why}
    write_json(stem.with_name(f"{stem.name}.json"), card)


def read_prepared(stem: Path) -> PreparedPatient | str | None:
    """What was made of a volume: a patient, or why it was left out; None where it has to be made (again)."""
    file = stem.with_name(f"{stem.name}.npy")
    try:
        card = json.loads(stem.with_name(f"{stem.name}.json").read_text("utf-8"))
        if (card["format"], card["format_version"]) != (FORMAT, FORMAT_VERSION):
            return None
        if card["left_out"] is not None:
            return str(card["left_out"])
        np.load(file, mmap_mode="r", allow_pickle=False)  # a file that was cut short is made again
        place = np.array(card["grid_to_template"], dtype=np.float64)
        return PreparedPatient(file, float(card["unit"]), place, str(card["fingerprint"]))
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


class PreparedPatients:
    """Patients for a training: some in memory, of whom each batch draws a few, and now and then another instead of one."""

    def __init__(
        self,
        training: Sequence[PreparedPatient],
        validation: Sequence[PreparedPatient],
        device: torch.device | str = "cpu",
        seed: Sequence[int] = (0,),
        memory: int = _MEMORY,
    ) -> None:
        self._training, self._validation, self._device = list(training), list(validation), device
        self._rng = np.random.default_rng(list(seed))
        self._memory = memory
        self._order: list[int] = []
        self._kept: dict[int, DensityGrid] = {}
        self._batches = 0

    @property
    def kept(self) -> int:
        """How many patients are in memory."""
        return len(self._kept)

    def draw(self, footprint: float) -> Sequence[DensityGrid]:
        """Up to four patients of those in memory, with voxels of no more than `footprint` mm."""
        if not self._kept:
            while len(self._kept) < len(self._training) and self._room():
                self._read(footprint)
        elif len(self._kept) < len(self._training) and self._batches % _BATCHES == 0:
            self._kept.pop(int(self._rng.choice(list(self._kept))))
            self._read(footprint)
        self._batches += 1
        chosen = self._rng.choice(list(self._kept), min(_AT_ONCE, len(self._kept)), replace=False)
        return [self._kept[int(index)] for index in chosen]

    @property
    def held_out(self) -> int:
        """How many `validation` gives."""
        return len(self._validation)

    def validation(self, footprint: float) -> Iterator[DensityGrid]:
        """Those held out of the training, with voxels of no more than `footprint` mm, each read when it is asked for."""
        return (matched_to(patient.grid(), footprint) for patient in self._validation)

    def _room(self) -> bool:
        """Whether one more as large as the largest fits, so that at least one is there."""
        sizes = [grid.data.numel() * 2 for grid in self._kept.values()]
        return not sizes or sum(sizes) + max(sizes) <= self._memory

    def _read(self, footprint: float) -> None:
        """Another patient, each as often as any other."""
        waiting = [index for index in self._order if index not in self._kept]
        if not waiting:
            self._order = self._rng.permutation(len(self._training)).tolist()
            waiting = [index for index in self._order if index not in self._kept]
        index = waiting[0]
        self._order.remove(index)
        self._kept[index] = matched_to(self._training[index].grid(), footprint).to(self._device)
