"""The classes of CTK and Slicer that this host stands for, and what Slicer's headers say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import slicer

from Testing.Host import dialect

dialect.install()

from Testing.Host import application, ctk_paths, layout, node_combo_box, scripted_module, views  # noqa: F401
from Testing.Host.ctk_widgets import ctk

_KINDS = ("properties", "slots", "invokables", "signals", "enumerators", "decorators")


def host_classes() -> dict[str, Any]:
    """Name -> class."""
    modules = (("ctk", ctk), (r"qMRML|qSlicer", slicer))
    return {
        name: getattr(module, name)
        for pattern, module in modules
        for name in dir(module)
        if re.match(pattern, name) and isinstance(getattr(module, name), type)
    }


def api() -> dict[str, dict[str, Any]]:
    """The list that read_headers wrote."""
    entries: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("api.json").read_text(encoding="utf-8"))
    return entries


def names_of(class_name: str) -> set[str]:
    """All names that PythonQt shows of a class of CTK or Slicer, with those that it inherits from others of them."""
    entries, names = api(), set()
    while class_name in entries:
        entry = entries[class_name]
        names |= {name for kind in _KINDS for name in entry.get(kind, ())}
        class_name = entry["base"] or ""
    return names


def qt_base_of(class_name: str) -> str:
    """The class of Qt that a class of CTK or Slicer comes from."""
    entries = api()
    while class_name in entries:
        class_name = entries[class_name]["base"] or ""
    return class_name
