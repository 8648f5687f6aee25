"""A damaged file is the file's fault: whatever a reader stumbles over becomes one sentence that names it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises InputError instead of anything else that goes wrong within; what a header holds is not quoted."""
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
