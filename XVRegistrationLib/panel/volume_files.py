"""The files in which volumes are handed to the engine, written once for each state of their voxels."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.files import session_folder
from XVRegistrationLib.scene.handover import cleanup, write_volume

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.context import Context


class VolumeFiles:
    """A folder of the session's, and the volumes that lie in it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder: Path | None = None
        self._files: dict[Any, tuple[tuple[Any, ...], Path, NDArray[np.float64]]] = {}

    @property
    def folder(self) -> Path:
        """Where files for the engine are written; removed when the session closes."""
        if self._folder is None:
            self._folder = session_folder(self._context.root)
        return self._folder

    def of(self, node: Any, signature: tuple[Any, ...]) -> tuple[Path, NDArray[np.float64]]:
        """The voxels' file of a volume node, written unless it is there with this signature, and IJK to RAS, mm."""
        for other, (before, path, _matrix) in list(self._files.items()):
            if not alive(self._context.scene, other) or (other is node and before != signature):
                cleanup(path)
                del self._files[other]
        if node not in self._files:
            self._files[node] = (signature, *write_volume(node, self.folder))
        return self._files[node][1:]

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._files.clear()
