"""Files that xvr writes with torch.save, read without running anything that they hold.

Written after xvr's source; no checkpoint that xvr itself has trained was at hand. What a pickle names beyond tensors and plain
values (dates, paths, a pandas table) becomes an object that holds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.xvr import camera_axes, intrinsics_of_xvr
from XVRegistrationLib.networks.xvr_network import XvrNetwork, XvrSettings

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

_SHIFT_OF_DIFFDRR = 0.5


@dataclass(frozen=True, eq=False)
class XvrCheckpoint:
    """A network that xvr has trained."""

    network: XvrNetwork
    """Its own predictions, T; `before` and `after` are the identity."""
    intrinsics: Intrinsics
    """The camera that it was trained for."""
    axes: NDArray[np.float64]
    """M (4, 4) of geometry.xvr.camera_axes."""
    angles: tuple[tuple[float, float], ...]
    """Ranges about z, x and y, degrees."""
    shifts: tuple[tuple[float, float], ...]
    """Ranges along x, y and z, mm."""
    in_template: bool
    """Whether it predicts in the frame of a template, and not in that of the one volume it was trained for."""
    finetuned: bool
    """Whether it was trained on, for one volume, through a transform to the template: its ranges are about that volume's axes."""
    steps: int


@dataclass(frozen=True, eq=False)
class XvrRegistration:
    """A pose that xvr has found."""

    extrinsic: NDArray[np.float64]
    """DiffDRR's (4, 4), in the frame of the volume's centre, mm."""
    axes: NDArray[np.float64]
    """M (4, 4) of geometry.xvr.camera_axes."""
    intrinsics: Intrinsics
    voxel_shift: float
    """With which the pose was refined; 0.5, which moves nothing, for one that a network predicted."""


def read_xvr(path: str | os.PathLike[str]) -> XvrCheckpoint | XvrRegistration:
    """What a checkpoint (.pth) or a result (parameters.pt) of xvr holds.

    Raises InputError for any other file, one that is cut short, and for a network that cannot be made here.
    """
    content = _content(Path(path))
    try:
        if "model_state_dict" in content and "config" in content:
            return _checkpoint(content)
        if "drr" in content and ("final_pose" in content or "init_pose" in content):
            return _registration(content)
    except KeyError as e:
        raise InputError(f"{path} is of an xvr that writes other files: it has no {e}.") from e
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except (TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{path} is damaged, or of an xvr that writes other files ({e}).") from e
    raise InputError(f"{path} is neither a checkpoint nor a parameters.pt of xvr.")


class _Ignored:
    """What stands for anything else than tensors and plain values."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} does not exist, or is no file.")
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise InputError("Files of xvr can be read with PyTorch 2.6 or later; update it.")
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_Ignored, name) for name in named]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise InputError(f"{path} cannot be read ({e}).") from e
    except Exception as e:  # of zip files, pickles and storages, each in its own way
        reason = str(e).strip().splitlines()
        raise InputError(
            f"{path} is damaged or no file of xvr ({reason[0] if reason else type(e).__name__}); copy it again."
        ) from e
    if not isinstance(content, dict):
        raise InputError(f"{path} is neither a checkpoint nor a parameters.pt of xvr.")
    return content


def _checkpoint(content: dict[str, Any]) -> XvrCheckpoint:
    config = content["config"]
    settings = XvrSettings(
        backbone=config["model_name"],
        pixels=int(config["height"]),
        norm_layer=config["norm_layer"],
        parameterization=config["parameterization"],
        convention=config["convention"] if config["parameterization"] == "euler_angles" else None,
        translation_scale=float(config.get("unit_conversion_factor", 1.0)),
    )
    spacing, orientation = float(config["delx"]), config["orientation"]
    intrinsics = intrinsics_of_xvr(
        float(config["sdd"]),
        (spacing, spacing),
        (settings.pixels, settings.pixels),
        (0.0, 0.0),
        orientation,
        bool(config["reverse_x_axis"]),
    )
    axes = camera_axes(orientation)
    angles = tuple(_range(config, name) for name in ("alpha", "beta", "gamma"))
    shifts = tuple(_range(config, name) for name in ("tx", "ty", "tz"))
    network = XvrNetwork(settings)
    try:
        missing, unknown = network.load_state_dict(content["model_state_dict"], strict=False)
    except RuntimeError as e:
        raise InputError(f"its weights do not fit the {settings.backbone} of this timm ({_second_line(e)}).") from e
    missing = [name for name in missing if name not in ("before", "after")]
    if missing or unknown:
        raise InputError(
            f"its weights do not fit the {settings.backbone} of this timm: {len(missing)} are missing, "
            f"{len(unknown)} unknown (such as {(missing + unknown)[0]})."
        )
    if not all(torch.isfinite(p).all() for p in network.state_dict().values() if p.is_floating_point()):
        raise InputError("its weights are not all finite: the training has diverged.")
    return XvrCheckpoint(
        network.eval(),
        intrinsics,
        axes,
        angles,
        shifts,
        _in_template(config),
        config.get("warp") is not None,
        int(content.get("itr", 0)),
    )


def _range(config: dict[str, Any], name: str) -> tuple[float, float]:
    low, high = float(config[f"{name}min"]), float(config[f"{name}max"])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"its range of {name} is {low} to {high}.")
    return low, high


def _in_template(config: dict[str, Any]) -> bool:
    """Whether a transform relates its volume to a template, or it was trained on many volumes: a folder, without a suffix."""
    if config.get("warp") is not None:
        return True
    places = [config.get("volpath"), config.get("inpath")]
    return any(isinstance(place, str) and not place.endswith((".nii", ".nii.gz")) for place in places)


def _registration(content: dict[str, Any]) -> XvrRegistration:
    drr, final = content["drr"], content.get("final_pose")
    matrix = final if final is not None else content["init_pose"]
    extrinsic = np.asarray(matrix.double().numpy()).reshape(-1, 4, 4)
    if len(extrinsic) != 1:
        raise InputError(f"it holds {len(extrinsic)} poses, and not one.")
    shift = float(drr.get("drr_kwargs", {}).get("voxel_shift", _SHIFT_OF_DIFFDRR))
    size = (int(drr["width"]), int(drr["height"]))
    spacing, middle = (float(drr["delx"]), float(drr["dely"])), (float(drr["x0"]), float(drr["y0"]))
    intrinsics = intrinsics_of_xvr(
        float(drr["sdd"]), spacing, size, middle, drr["orientation"], bool(drr["reverse_x_axis"])
    )
    return XvrRegistration(
        extrinsic[0],
        camera_axes(drr["orientation"]),
        intrinsics,
        shift if final is not None else _SHIFT_OF_DIFFDRR,
    )


def _second_line(error: Exception) -> str:
    """What is wrong first, of torch's list."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else lines[0]
