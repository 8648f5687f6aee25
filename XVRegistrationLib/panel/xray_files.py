"""Where the files of X-rays are: known while the session lives, or by Slicer's DICOM database; never kept in the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.dicom_source import source_of

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.panel.context import Context


class XrayFiles:
    """Image nodes, and the files that they were read from."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files: dict[Any, Path] = {}

    def keep(self, node: Any, path: Path) -> None:
        """The X-ray with this image node was read from this file."""
        self._files = {other: file for other, file in self._files.items() if alive(self._context.scene, other)}
        self._files[node] = path

    def of(self, node: Any) -> Path | None:
        """The file of an X-ray; None where that is not known, as after its scene was loaded, or where it is gone."""
        path = self._files.get(node)
        if path is None:
            source = source_of(node)
            path = None if source is None else source.file
        return path if path is not None and path.is_file() else None

    def forget(self) -> None:
        """Let go of all nodes."""
        self._files.clear()
