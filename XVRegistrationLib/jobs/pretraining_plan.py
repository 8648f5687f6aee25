"""What a pretraining is to do, kept in its folder, so that it can go on after whatever has ended it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.jobs.home import PLAN
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings
from XVRegistrationLib.registration.card import DEFAULT_SOD

if TYPE_CHECKING:
    import os

    from XVRegistrationLib.training.trainer import TrainingSettings

FORMAT, FORMAT_VERSION = "xvregistration pretraining", 1
PREPARED = "prepared"
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")

PRETRAINED_NETWORK = NetworkSettings(normalization=GROUP)
"""With group normalisation, whose gradients do not depend on how a batch is divided among processes and patients."""


@dataclass(frozen=True)
class Plan:
    """All that decides what a pretraining makes."""

    volumes: tuple[str, ...]
    """Files and folders of CTs, absolute."""
    template: str
    """The one that all others are registered to; it need not be one of them."""
    intrinsics: Intrinsics
    view: str = "AP"
    sod: float = DEFAULT_SOD
    pose_range: PoseRange = field(default_factory=PoseRange)
    anatomy: str = ""
    """What part of the body it is: the name of a preset."""
    reading: Reading = field(default_factory=Reading)
    """How all the files are read."""
    network: NetworkSettings = PRETRAINED_NETWORK
    seconds: float = 3600.0
    """Of training, after the preparation."""
    seed: int = 0
    pictures: bool = True
    """Whether each CT is drawn on the template when it has been registered to it."""
    training: TrainingSettings | None = None
    """How it is trained, where that is to be other than usual, but for seconds and seed."""

    @property
    def preparing(self) -> tuple[Any, ...]:
        """What decides how a CT is prepared, beside the CT and the template."""
        return self.intrinsics, self.view, self.sod, self.anatomy, self.reading, self.network.pixels

    @property
    def all_volumes(self) -> tuple[str, ...]:
        """The template and all others, each once."""
        return tuple(dict.fromkeys((self.template, *self.volumes)))


def find_volumes(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """CTs below a folder, sorted: volume files, and the folders that hold DICOM files. InputError where there are none."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give one with the CTs to learn from.")
    found = set()
    for path in root.rglob("*"):
        name = path.name.lower()
        if path.is_file() and name.endswith(_VOLUMES):
            found.add(str(path.absolute()))
        elif path.is_file() and name.endswith((".dcm", ".ima")):
            found.add(str(path.parent.absolute()))
    if not found:
        raise InputError(f"{root} holds no CTs: NIfTI, NRRD or MetaImage files, or folders of DICOM slices (.dcm).")
    return tuple(sorted(found))


def write_plan(folder: Path, plan: Plan) -> None:
    """Write the plan into a pretraining's folder."""
    content = {
        **dataclasses.asdict(plan),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "intrinsics": plan.intrinsics.to_dict(),
        "reading": plan.reading.to_dict(),
    }
    write_json(folder / PLAN, content)


def read_plan(folder: str | os.PathLike[str]) -> Plan:
    """The plan of a pretraining's folder; InputError where there is none or it is damaged."""
    path = Path(folder) / PLAN
    if not path.is_file():
        raise InputError(f"{folder} holds no pretraining: {PLAN} is missing.")
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT or content["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path} is not a pretraining that this program can go on with.")
        poses = content["pose_range"]
        return Plan(
            tuple(content["volumes"]),
            content["template"],
            Intrinsics.from_dict(content["intrinsics"]),
            content["view"],
            float(content["sod"]),
            PoseRange(tuple(poses["rotation"]), tuple(poses["translation"])),
            content["anatomy"],
            Reading.from_dict(content["reading"]),
            NetworkSettings(**content["network"]),
            float(content["seconds"]),
            int(content["seed"]),
            bool(content.get("pictures", True)),
            None if content.get("training") is None else _settings_of(content["training"]),
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(f"{path} is damaged ({e}); pretrain into a new folder.") from e


def _settings_of(content: dict[str, Any]) -> TrainingSettings:
    from XVRegistrationLib.training.checkpoints import settings_from  # torch, which no list of jobs waits for

    return settings_from(content)


def stem_of(folder: Path, volume: str) -> Path:
    """Where the preparation of a volume is kept: named by a hash of its place, size and date, not by its name."""
    path = Path(volume)
    try:
        stat = path.stat()
        size = stat.st_size if path.is_file() else sum(p.stat().st_size for p in path.iterdir() if p.is_file())
        state = f"{volume}|{size}|{stat.st_mtime_ns}"
    except OSError:
        state = volume
    return folder / PREPARED / hashlib.sha256(state.encode()).hexdigest()[:16]
