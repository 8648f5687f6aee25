"""Files of tensors: safetensors, written whole or not at all."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors by name; OSError where the disk does not take them."""
    with replacing(path) as temporary:
        try:
            save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
        except SafetensorError as e:
            code = re.search(r"os error (\d+)", str(e))
            if code is None:
                raise
            # safetensors hides that the disk is full in its text: callers look at OSError.errno.
            raise OSError(int(code.group(1)), os.strerror(int(code.group(1))), str(path)) from e


def save_learnt(
    root: Path, training: dict[str, Any], network: nn.Module | None, optimizer: dict[str, torch.Tensor] | None
) -> dict[str, str]:
    """Write what a training has learnt so far into a model's folder; names of the files, of their own for each step."""
    tag, files = f"{int(training.get('steps', 0)):07d}", {}
    for kind, tensors in (
        ("network", None if network is None else dict(network.state_dict())),
        ("optimizer", optimizer),
    ):
        if tensors:
            files[kind] = f"{kind}-{tag}.safetensors"
            save_tensors(root / files[kind], tensors)
    return files


def remove_replaced(root: Path, files: dict[str, str]) -> None:
    """Remove the banks, networks and optimisers of a model's folder that its card, which names `files`, knows no more."""
    for kind in ("bank", "network", "optimizer"):
        for old in root.glob(f"{kind}-*.safetensors"):
            if old.name not in files.values():
                # Windows keeps a file that another process is reading; the next save removes it.
                with suppress(PermissionError):
                    old.unlink()


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name; InputError for a file that is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path} is missing; the model is incomplete. Train it again.")
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except Exception as e:  # safetensors raises its own SafetensorError, without a public base
        raise InputError(f"{path} is damaged ({e}); train the model again.") from e
    return tensors
