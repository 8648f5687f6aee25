"""The module `qt` as Slicer's Python has it (PythonQt), on PySide6.

Where they differ, PythonQt wins: a property is read and set as an attribute (`w.text`, `w.text = "x"`; `w.text()` fails),
signals are also connected by signature, a missing attribute is looked up among dynamic properties and children, and an
attribute that does not exist cannot be set on a C++ object. PySide's classes are changed in place, because Qt makes
objects of them itself; `qt.X` are subclasses of them, because only those can refuse to be given new attributes.
"""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtNetwork, QtPrintSupport, QtUiTools, QtWidgets

from Testing.Host import signals

_QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools, QtNetwork, QtPrintSupport)
_QObject = QtCore.QObject
# For Qt's own Python classes `type(x)` is this; a class with it makes instances that only carry what Qt gave them.
_HostedType = type(_QObject)

qt = types.ModuleType("qt")
qt.__doc__ = __doc__


class QtProperty:
    """One Q_PROPERTY as an attribute of its class."""

    __slots__ = ("getter", "name", "setter", "writable")

    def __init__(self, name: str, getter: Any, setter: Any, writable: bool) -> None:
        self.name, self.getter, self.setter, self.writable = name, getter, setter, writable

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self.getter(instance) if self.getter else instance.property(self.name)
        # PythonQt gives a QStringList as a tuple.
        return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        if self.setter:
            try:
                self.setter(instance, value)
                return
            except TypeError:  # an enumeration given as an integer, for one: Qt converts it
                pass
        meta = instance.metaObject()
        qt_property = meta.property(meta.indexOfProperty(self.name))
        if value is None or not qt_property.write(instance, value):
            raise AttributeError(
                f"Property '{self.name}' of type '{qt_property.typeName()}' does not accept an object of type "
                f"{type(value).__name__} ({value!r})"
            )


class _ObjectName:
    """`w.name`, which is PythonQt's short form of `w.objectName`."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.objectName

    def __set__(self, instance: Any, value: str) -> None:
        instance.objectName = value


class HostMeta(_HostedType):  # type: ignore[misc, valid-type]
    """Class of the classes in `qt`: an object that Qt made counts as an instance of them."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        # Shiboken finds these two only in the class's own dictionary, before its own static ones.
        for method, function in (("connect", signals.connect), ("disconnect", signals.disconnect)):
            if method not in namespace:
                setattr(cls, method, function)

    def __instancecheck__(cls, instance: Any) -> bool:
        raw = cls.__dict__.get("_host_raw")
        return isinstance(instance, raw) if raw else type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        raw = cls.__dict__.get("_host_raw")
        return issubclass(subclass, raw) if raw else type.__subclasscheck__(cls, subclass)


def strict_setattr(raw: type) -> Any:
    """A `__setattr__` that refuses unknown names on C++ objects; a Python subclass may have attributes of its own."""

    def set_known(self: Any, name: str, value: Any) -> None:
        kind = type(self)
        is_cpp = "_host_raw" in kind.__dict__ or "_host_strict" in kind.__dict__
        if is_cpp and not name.startswith("_host"):
            known = inspect.getattr_static(kind, name, None)
            if known is None and name in _dynamic_properties(self):
                self.setProperty(name, value)
                return
            if known is None:
                raise AttributeError(
                    f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
                )
            if not isinstance(known, QtCore.Property) and not hasattr(type(known), "__set__"):
                raise AttributeError(f"'{name}' of {kind.__name__} is a method or signal and cannot be assigned")
        raw.__setattr__(self, name, value)  # type: ignore[misc]

    return set_known


def strict_members(raw: type) -> dict[str, Any]:
    """What every class here that stands for one of C++ has in its own dictionary."""
    return {
        "connect": signals.connect,
        "disconnect": signals.disconnect,
        "__setattr__": strict_setattr(raw),
        "findChild": lambda self, kind=_QObject, name="": _find(self, kind, name, first=True),
        "findChildren": lambda self, kind=_QObject, name="": _find(self, kind, name, first=False),
    }


def _find(parent: Any, kind: Any, name: str, first: bool) -> Any:
    """PythonQt's findChild(ren)(type or class name, object name)."""
    found = []
    for child in descendants(parent):
        matches = child.inherits(kind) if isinstance(kind, str) else isinstance(child, kind)
        if matches and (not name or child.objectName == name):
            found.append(child)
    return (found[0] if found else None) if first else found


def descendants(parent: Any) -> list[Any]:
    """All objects below an object, nearest first on each branch."""
    children = list(parent.children())
    return children + [c for child in children for c in descendants(child)]


def _dynamic_properties(instance: Any) -> list[str]:
    return [bytes(name.data()).decode() for name in instance.dynamicPropertyNames()]


def _missing_attribute(self: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in _dynamic_properties(self):
        return self.property(name)
    for child in self.children():
        if child.objectName == name:
            return child
    raise AttributeError(f"{self.metaObject().className()} has no attribute named '{name}'")


def _turn_properties_into_attributes(cls: Any) -> None:
    meta = cls.staticMetaObject
    for i in range(meta.propertyOffset(), meta.propertyCount()):
        declared = meta.property(i)
        name = declared.name()
        if name == "singleShot":  # PythonQt skips it, so that QTimer.singleShot stays a function
            continue
        getter = getattr(cls, name, None)
        if isinstance(getter, QtProperty):
            getter = getter.getter
        elif isinstance(getter, QtCore.Signal):
            getter = None
        if inspect.isbuiltin(getter):  # static, as QGuiApplication.platformName()
            continue
        setter = getattr(cls, "set" + name[0].upper() + name[1:], None)
        setattr(cls, name, QtProperty(name, getter, setter, declared.isWritable()))


def _strict_class(cls: type) -> Any:
    """`cls` as Slicer's Python sees it, or None where no subclass can be made."""
    try:
        return HostMeta(
            cls.__name__, (cls,), {"_host_raw": cls, "__module__": "qt", "__doc__": cls.__doc__, **strict_members(cls)}
        )
    except TypeError:
        return None


def install() -> types.ModuleType:
    """Bring up the module `qt` in this process, once; return it."""
    if "qt" in sys.modules:
        return qt
    classes: list[Any] = []
    for module in _QT_MODULES:
        for name in dir(module):
            if name.startswith("_"):
                continue
            member = getattr(module, name)
            setattr(qt, name, member)
            if isinstance(member, type) and issubclass(member, _QObject) and member not in classes:
                classes.append(member)
    for cls in sorted(classes, key=lambda c: len(c.__mro__)):
        _turn_properties_into_attributes(cls)
    _QObject.className = lambda self: self.metaObject().className()  # type: ignore[attr-defined]
    _QObject.name = _ObjectName()  # type: ignore[attr-defined]
    _QObject.delete = lambda self: self.deleteLater()  # type: ignore[attr-defined]
    _QObject.__getattr__ = _missing_attribute  # type: ignore[attr-defined]
    signals.install()
    for cls in classes:
        if not issubclass(cls, QtCore.QCoreApplication) and cls.__module__ != "PySide6.QtUiTools":
            strict = _strict_class(cls)
            if strict is not None:
                setattr(qt, cls.__name__, strict)
    # PythonQt takes plain integers for enumerations.
    color_name = QtGui.QColor.name
    QtGui.QColor.name = lambda self, form=0: color_name(self, QtGui.QColor.NameFormat(form))
    sys.modules["qt"] = qt
    return qt
