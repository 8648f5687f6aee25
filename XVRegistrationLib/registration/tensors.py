"""Files of tensors: safetensors, written whole or not at all."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    import torch


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


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name; InputError for a file that is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path} is missing; the model is incomplete. Train it again.")
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except Exception as e:  # safetensors raises its own SafetensorError, without a public base
        raise InputError(f"{path} is damaged ({e}); train the model again.") from e
    return tensors
