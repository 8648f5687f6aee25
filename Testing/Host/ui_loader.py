"""`qt.QUiLoader`: builds a .ui file of the host's widgets and refuses what Slicer's would not know."""

from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as ET
from typing import Any

import slicer
from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.Host import dialect
from Testing.Host.ctk_widgets import ctk

_NOT_OF_QT = {"buddy"}  # only the loader knows it: QLabel::setBuddy
_OURS = re.compile(r"(ctk|qMRML|qSlicer)\w*")


class UiError(RuntimeError):
    """The .ui file asks for something that does not exist."""


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader, with `qt`, `ctk` and `slicer` as its widgets."""

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        # A page of a tab widget gets its parent when it is added as a tab.
        widget = (
            _class_named(class_name)() if isinstance(parent, QtWidgets.QTabWidget) else _class_named(class_name)(parent)
        )
        if parent is not None and widget.parent() is None:
            QtWidgets.QWidget.setParent(widget, parent)
        widget.setObjectName(name)
        return widget

    def load(self, file: Any, parent: Any = None) -> Any:
        """The root widget of a .ui file that is open for reading."""
        root = ET.fromstring(bytes(file.readAll().data()))
        _check_properties(root)
        _resolve_flags(root)
        connections = _take_scene_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parent)
        named = {w.objectName: w for w in [widget, *dialect.descendants(widget)] if w.objectName}
        for sender, signal, receiver, slot in connections:
            if sender not in named or receiver not in named:
                raise UiError(f"A connection names {sender} and {receiver}, which are not both there")
            named[sender].connect(signal, getattr(named[receiver], slot.partition("(")[0]))
        return widget


def _class_named(name: str) -> Any:
    for module in (dialect.qt, ctk, slicer):
        found = getattr(module, name, None)
        if found is not None:
            return found
    raise UiError(f"There is no widget class {name} in this host")


def _check_properties(root: ET.Element) -> None:
    """Qt would turn a property that does not exist into a dynamic one, without a word."""
    for widget in root.iter("widget"):
        cls = _class_named(widget.get("class", ""))
        for element in widget.findall("property"):
            name = element.get("name", "")
            is_dynamic = element.get("stdset") == "0" or name in _NOT_OF_QT
            declared = inspect.getattr_static(cls, name, None)
            if not is_dynamic and not isinstance(declared, dialect.QtProperty | QtCore.Property):
                raise UiError(f"{widget.get('class')} {widget.get('name')} has no property {name}")


def _resolve_flags(root: ET.Element) -> None:
    """Qt's loader does not know the enumerations of our widgets: give it the numbers."""
    for element in root.iter("property"):
        for tag in ("set", "enum"):
            value = element.find(tag)
            if value is not None and value.text and _OURS.match(value.text):
                number = 0
                for term in value.text.split("|"):
                    owner, _, key = term.rpartition("::")
                    number |= int(getattr(_class_named(owner.split("::")[0]), key))
                element.remove(value)
                ET.SubElement(element, "number").text = str(number)
                element.set("stdset", "0")


def _take_scene_connections(root: ET.Element) -> list[tuple[str, ...]]:
    """Remove the connections that pass a MRML class on, of which Qt's loader knows nothing; return them."""
    taken = []
    for connections in root.findall("connections"):
        for connection in list(connections):
            parts = tuple(connection.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot"))
            if "vtk" in parts[1]:
                taken.append(parts)
                connections.remove(connection)
    return taken


dialect.qt.QUiLoader = QUiLoader
