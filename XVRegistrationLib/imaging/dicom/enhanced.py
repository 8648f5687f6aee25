"""Enhanced multi-frame objects, whose elements are in functional groups (PS3.3, C.7.6.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


def has_functional_groups(dataset: Dataset) -> bool:
    """Whether elements may differ from frame to frame in functional groups."""
    return _SHARED in dataset or _PER_FRAME in dataset


def with_functional_groups(dataset: Dataset, frame: int) -> Dataset:
    """A copy with the elements of the functional groups at the top level: the shared ones, and over them those of `frame`.

    A macro is a sequence of one item, and its elements are moved up. A macro of several items (look-up tables, pixel
    shifts) stays a sequence, which is at the top level as well.
    """
    from pydicom.dataset import Dataset

    copy = Dataset()
    copy.update(dataset)
    for name in (_SHARED, _PER_FRAME):
        if name in copy:
            del copy[name]
    for group in (_item(dataset, _SHARED, 0), _item(dataset, _PER_FRAME, frame)):
        for macro in group or ():
            copy[macro.tag] = macro
            if macro.VR == "SQ" and len(macro.value) == 1:
                copy.update({element.tag: element for element in macro.value[0]})
    return copy


def _item(dataset: Dataset, name: str, index: int) -> Dataset | None:
    items = dataset.get(name) or ()
    return items[index] if index < len(items) else None
