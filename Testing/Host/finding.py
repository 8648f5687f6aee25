"""Widgets of a panel by what a user reads: the words on a button, or beside a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6 import QtWidgets

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELDS = (
    "qMRMLNodeComboBox",
    "QComboBox",
    "QSpinBox",
    "QDoubleSpinBox",
    "QLineEdit",
    "ctkSliderWidget",
    "ctkPathLineEdit",
)


def plain(text: str) -> str:
    """A label as it is read: without the mark of its key, and its colon."""
    return text.replace("&", "").strip().removesuffix(":")


def visible(panel: Any, kind: type) -> Iterator[Any]:
    """Widgets of a kind in the panel that can be seen, if need be after scrolling."""
    return (widget for widget in panel.findChildren(kind) if widget.isVisibleTo(panel))


def button(panel: Any, words: str) -> Any:
    """The one button, check box or section with these words; AssertionError if there is none, or more than one."""
    return _one([w for w in visible(panel, QtWidgets.QAbstractButton) if plain(w.text) == words], f"button {words!r}")


def field(panel: Any, words: str) -> Any:
    """The field that stands to the right of these words; AssertionError if there is none."""
    labels = [w for w in visible(panel, QtWidgets.QLabel) if plain(w.text) == words]
    label = _one(labels, f"label {words!r}")
    left, top = _place(panel, label)
    middle = top + label.height / 2
    beside = []
    for widget in visible(panel, QtWidgets.QWidget):
        if widget.className() in _FIELDS:
            x, y = _place(panel, widget)
            if x >= left + label.width / 2 and y <= middle <= y + widget.height:
                beside.append((x, widget.width, widget))
    # Of a compound field and its parts, which begin at the same place, the whole.
    found = sorted(beside, key=lambda at: (at[0], -at[1]))
    assert found, f"There is no field beside {words!r}."
    return found[0][2]


def shown_texts(window: Any, panel: Any) -> Iterator[str]:
    """What can be read in the panel, and in the window's status line."""
    for label in visible(panel, QtWidgets.QLabel):
        yield plain(label.text)
    for table in visible(panel, QtWidgets.QTableWidget):
        cells = (table.item(r, c) for r in range(table.rowCount) for c in range(table.columnCount))
        yield from (cell.text() for cell in cells if cell is not None)
    yield window.statusBar().currentMessage()


def _one(found: list[Any], what: str) -> Any:
    assert len(found) == 1, f"The panel shows {len(found) or 'no'} {what}."
    return found[0]


def _place(panel: Any, widget: Any) -> tuple[int, int]:
    at = widget.mapTo(panel, widget.rect.topLeft())
    return at.x(), at.y()
