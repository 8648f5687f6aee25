"""Several processes that train one network together, each with its own X-rays, by torch.distributed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as distributed

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_PATIENCE = timedelta(hours=12)
"""How long one waits for the others: a process may prepare many volumes while another has none left."""


class RefusedElsewhereError(InputError):
    """What another process of the team was refused, and says."""


@dataclass(frozen=True)
class Team:
    """This process among those that train together; alone without any others."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Wait for all at its end. What an InputError refuses to one of them is refused to all: `RefusedElsewhereError` for the others."""
        refusal: InputError | None = None
        try:
            yield
        except InputError as e:
            refusal = e
        if self.size > 1:
            said: list[InputError | None] = [None] * self.size
            distributed.all_gather_object(said, refusal)
            speaker = next((rank for rank, found in enumerate(said) if found is not None), self.rank)
            if speaker != self.rank:
                refusal = RefusedElsewhereError(str(said[speaker]))
        if refusal is not None:
            raise refusal

    def agreed(self, seconds: float) -> float:
        """The first process's time, so that all end at the same step."""
        if self.size == 1:
            return seconds
        value = torch.tensor([seconds], dtype=torch.float64, device=_device())
        distributed.broadcast(value, src=0)
        return float(value)

    def average(self, network: nn.Module) -> None:
        """Replace each parameter's gradient by its mean over the team: that of the mean loss of all their X-rays."""
        if self.size > 1:
            self._average([p.grad for p in network.parameters() if p.grad is not None])

    def share(self, network: nn.Module) -> None:
        """Give all the first one's parameters, and all the mean of what normalisation has seen."""
        if self.size > 1:
            for parameter in network.parameters():
                distributed.broadcast(parameter.data, src=0)
            self._average([b for b in network.buffers() if b.is_floating_point()])

    def _average(self, tensors: list[torch.Tensor]) -> None:
        if not tensors:
            return
        # One message: many small ones take longer than a step.
        together = torch.cat([t.reshape(-1) for t in tensors])
        distributed.all_reduce(together)
        for tensor, mean in zip(tensors, (together / self.size).split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


@contextmanager
def team() -> Iterator[Team]:
    """The team that `torchrun` has started this process in; alone where it has not.

    Raises InputError where its processes cannot be connected.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(own_device())
    try:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as e:
        reason = str(e).strip().splitlines()[0]
        raise InputError(
            f"The {size} processes of this training could not be connected ({reason}); start them by torchrun."
        ) from e
    try:
        yield Team(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def own_device() -> str | None:
    """The device of this process in a team with GPUs; None where any will do."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    return None


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
