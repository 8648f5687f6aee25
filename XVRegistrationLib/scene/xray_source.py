"""How an X-ray was read from its file, kept on its image node and so in the scene: which frame, and whether subtracted.

Not which file: where that lies may name the patient. Its digest tells whether a file is the one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.runs import share

if TYPE_CHECKING:
    from XVRegistrationLib.jobs.engine import Message

RUN = "run"
_SOURCE = PREFIX + "Source"


@dataclass(frozen=True)
class XraySource:
    """What of its file an X-ray is."""

    shown: int | str = 0
    """A frame from 0, "min", "max" or "mean" over the run of the radiation at each pixel, or "run": each frame."""
    frames: int = 1
    """So many the file holds."""
    subtracted: bool = False
    """Whether mask frames were subtracted."""
    subtractable: bool = False
    """Whether the file names mask frames."""
    digest: str = ""
    """SHA-256 of the file."""
    mask_frames: tuple[int, ...] = ()
    """The mask frames, from 0, that the user chose; none: those that the file names."""


def source_of_message(message: Message, asked: int | str | None) -> XraySource:
    """How the frames in the engine's answer were read, when this one (None: all) was asked for."""
    f = message.fields
    first, count = f["frames"][0], len(f["frames"])
    shown = RUN if count > 1 else asked if isinstance(asked, str) else first["frame"] or 0
    return XraySource(
        shown,
        first["frames"],
        bool(f["subtracted"]),
        bool(f["subtractable"]),
        str(f["digest"]),
        tuple(f["mask_frames"]),
    )


def write_source(node: Any, source: XraySource) -> None:
    """Keep how an X-ray was read, for all frames of a run."""
    node.SetAttribute(_SOURCE, json.dumps(asdict(source)))
    share(node, _SOURCE)


def read_source(node: Any) -> XraySource | None:
    """How an X-ray was read; None for one that came from no file, or from an earlier version."""
    try:
        said = json.loads(node.GetAttribute(_SOURCE) or "")
        return XraySource(
            said["shown"] if isinstance(said["shown"], str) else int(said["shown"]),
            int(said["frames"]),
            bool(said["subtracted"]),
            bool(said["subtractable"]),
            str(said["digest"]),
            tuple(int(n) for n in said.get("mask_frames") or ()),
        )
    except (ValueError, TypeError, KeyError):
        return None
