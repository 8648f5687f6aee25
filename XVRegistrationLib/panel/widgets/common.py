"""What the sections of the panel do alike: show text, bars and reasons, and answer to mistakes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import qt
import slicer.util

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TITLE_EMS = 14
"""Width of a title in heights of its text."""
_LOWEST = 60  # px, of a table that grows with its rows


@contextlib.contextmanager
def answering(say: Callable[[str], None], message: str) -> Iterator[None]:
    """Around everything that a button does: what the user can mend is said in the status line, the rest by Slicer."""
    with slicer.util.tryWithErrorDisplay(message):
        try:
            yield
        except InputError as error:
            say(str(error))


def show_text(label: Any, text: str) -> None:
    """Show the text, or nothing in its place if there is none; an unchanged one is not laid out again."""
    if label.property("text") != text:
        label.setText(text)
    label.setVisible(bool(text))


def show_progress(bar: Any, fraction: float | None, text: str = "") -> None:
    """Show a bar from 0 to 1 with words on it; negative: how far is not known; None: no bar."""
    bar.setVisible(fraction is not None)
    if fraction is None:
        return
    bar.setRange(0, 0 if fraction < 0 else 1000)
    bar.setValue(max(0, min(1000, round(fraction * 1000))))
    bar.setFormat(text or "%p %")


def allow(widget: Any, obstacle: str, purpose: str) -> None:
    """Enable a widget unless something stands in its way; its tooltip says what, or else what it is for, and its key."""
    widget.setEnabled(not obstacle)
    widget.setToolTip(obstacle or f"{purpose}{_key_of(widget)}")


def _key_of(widget: Any) -> str:
    """The shortcut of a button in brackets; nothing where a letter of its text is underlined."""
    key = widget.property("shortcut")
    if key is None or key.isEmpty() or "&" in widget.property("text"):
        return ""
    return f" ({key.toString(qt.QKeySequence.NativeText)})"


def set_title(group: Any, title: str) -> None:
    """Give a group box a title, which may be a long name: what does not fit is left out of its middle, and in its tooltip."""
    metrics = qt.QFontMetrics(group.property("font"))
    group.setTitle(metrics.elidedText(title, qt.Qt.ElideMiddle, _TITLE_EMS * metrics.height()))
    group.setToolTip(title)


def in_words(key: str) -> str:
    """A key such as Ctrl+Shift+A as the user's system writes it."""
    return str(qt.QKeySequence(key).toString(qt.QKeySequence.NativeText))


def add_shortcut(widget: Any, key: str, act: Callable[[], object]) -> Any:
    """A QShortcut that acts at a key while the widget can be seen, wherever in its window the focus is."""
    shortcut = qt.QShortcut(qt.QKeySequence(key), widget)
    shortcut.activated.connect(lambda: act())
    # Where another program part has the same key, both are meant.
    shortcut.activatedAmbiguously.connect(lambda: act())
    return shortcut


@contextlib.contextmanager
def quietly(*widgets: Any) -> Iterator[None]:
    """While these are filled by the program they tell nobody: only the user's changes are passed on."""
    blocked = [(widget, widget.blockSignals(True)) for widget in widgets]
    try:
        yield
    finally:
        for widget, before in blocked:
            widget.blockSignals(before)


def fill_table(table: Any, rows: Sequence[tuple[str, ...]], shown: Sequence[tuple[str, ...]]) -> None:
    """Show rows of texts, whose last is the tooltip of all, in the place of those `shown`; what is alike is left as it is."""
    with quietly(table):
        table.setRowCount(len(rows))
        for index, row in enumerate(rows):
            if index < len(shown) and shown[index] == row:
                continue
            for column, text in enumerate(row[:-1]):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row[-1] or text)
                table.setItem(index, column, item)


def fit_height(table: Any, rows: int, more: int, highest: int = 200) -> None:
    """Make a table as high as its rows and `more` px need, up to `highest`."""
    height = sum(table.rowHeight(index) for index in range(rows))
    table.setFixedHeight(max(_LOWEST, min(highest, height + more)))


def header_height(table: Any) -> int:
    """Of a table's titles, px."""
    return int(table.horizontalHeader().property("sizeHint").height())


def fill_choices(combo: Any, choices: list[tuple[str, str]], current: str) -> None:
    """Offer (title, value) pairs with the current value chosen; nothing happens if that is what is shown.

    The list that opens is as wide as its widest title, however narrow the field is.
    """
    shown = [(combo.itemText(index), combo.itemData(index)) for index in range(combo_count(combo))]
    with quietly(combo):
        if shown != choices:
            combo.clear()
            for title, value in choices:
                combo.addItem(title, value)
        metrics = qt.QFontMetrics(combo.property("font"))
        widest = max((metrics.horizontalAdvance(title) for title, _value in choices), default=0)
        combo.view().setMinimumWidth(widest + 2 * metrics.height())  # with its margins and a scroll bar
        combo.setCurrentIndex(next((i for i, (_title, value) in enumerate(choices) if value == current), -1))


def combo_count(combo: Any) -> int:
    """Number of choices."""
    return int(combo.property("count"))


def chosen(combo: Any) -> str:
    """Value of the current choice, "" if there is none."""
    index = int(combo.property("currentIndex"))
    return str(combo.itemData(index)) if index >= 0 else ""
