"""What the engine and its client say to each other: one frame is a JSON header and raw arrays, nothing that runs code."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ADDRESS_FILE = "address.json"
"""In the folder that client and engine share: where the engine listens, written once it does."""

_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 16
_KINDS = "biuf"  # booleans, integers and floats; never objects


class ProtocolError(Exception):
    """A frame that is not one of ours."""


def encode(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """A frame of a JSON-serialisable header and arrays of numbers."""
    described, blocks, offset = [], [], 0
    for name, array in (arrays or {}).items():
        # ascontiguousarray would make a zero-dimensional array one-dimensional.
        values = np.asarray(array, order="C")
        if values.dtype.kind not in _KINDS:
            raise ProtocolError(f"The array {name} has the type {values.dtype}, which is not one of numbers.")
        described.append({"name": name, "dtype": values.dtype.str, "shape": list(values.shape), "offset": offset})
        padding = -values.nbytes % _ALIGNMENT
        blocks += [values.tobytes(), bytes(padding)]
        offset += values.nbytes + padding
    head = json.dumps({**header, "arrays": described}).encode()
    head += b" " * (-(len(head) + _LENGTH.size) % _ALIGNMENT)
    return b"".join([_LENGTH.pack(len(head)), head, *blocks])


def decode(frame: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a frame; the arrays may be written to. Raises ProtocolError for anything else."""
    try:
        (length,) = _LENGTH.unpack_from(frame)
        start = _LENGTH.size + length
        if start > len(frame):
            raise ProtocolError(f"A frame of {len(frame)} bytes is cut off: its header alone would have {length}.")
        header = json.loads(frame[_LENGTH.size : start])
        arrays = {}
        for entry in header.pop("arrays"):
            dtype, shape = np.dtype(entry["dtype"]), tuple(int(n) for n in entry["shape"])
            if dtype.kind not in _KINDS or min(shape, default=0) < 0:
                raise ProtocolError(f"An array of {dtype} {shape} is not one of ours.")
            count = int(np.prod(shape, dtype=np.int64))
            values = np.frombuffer(frame, dtype, count, start + int(entry["offset"])) if count else np.empty(0, dtype)
            arrays[str(entry["name"])] = values.reshape(shape).copy()
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ProtocolError(f"A frame of {len(frame)} bytes cannot be read: {e}") from e
    return header, arrays
