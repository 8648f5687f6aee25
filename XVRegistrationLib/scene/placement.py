"""What the user's next click in a view places: Slicer makes that every markups node that is added, also one of ours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def kept_placement(scene: Any) -> Iterator[None]:
    """While nodes are added here, the next click goes on placing what it would have placed before."""
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    before = None if selection is None else (selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID())
    try:
        yield
    finally:
        if before is not None and before[1] and selection.GetActivePlaceNodeID() != before[1]:
            selection.SetReferenceActivePlaceNodeClassName(before[0])
            selection.SetActivePlaceNodeID(before[1])
