"""A damaged file is the file's fault: whatever a reader stumbles over becomes one sentence that names it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_HEADER = 4096  # bytes, at most, before the pixels


@contextmanager
def guarded(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises InputError instead of anything else that goes wrong within; what a header holds is not quoted."""
    _check_meta_image(Path(path))
    try:
        yield
    except InputError:
        raise
    except MemoryError as e:
        raise InputError(f"{path} needs more memory than there is: check the size that its header states.") from e
    # A parser may fail in any way on what was cut off or overwritten.
    except Exception as e:
        raise InputError(
            f"{path} cannot be read: a value in it is damaged or missing ({type(e).__name__}); get the file anew."
        ) from e


def _check_meta_image(path: Path) -> None:
    """Raise InputError for a MetaImage whose number of dimensions is absurd: ITK's reader ends the process for it."""
    if path.suffix.lower() not in (".mha", ".mhd") or not path.is_file():
        return
    with path.open("rb") as f:
        stated = re.search(rb"^\s*NDims\s*=([^\n]*)", f.read(_HEADER), re.MULTILINE)
    if stated is not None and stated[1].strip() not in (b"2", b"3", b"4"):
        raise InputError(f"{path} cannot be read: its NDims must be 2, 3 or 4.")
