"""Forgetting the library, so that the panel's Reload button takes changed files."""

from __future__ import annotations

import sys

PACKAGE = __name__.partition(".")[0]


def forget_library() -> list[str]:
    """Names of the library's modules, now no longer loaded: the next import reads their files again.

    Dropping all of them at once, instead of reloading one after the other, needs no order and leaves no module that
    holds another's old classes.
    """
    names = [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]
    for name in names:
        del sys.modules[name]
    return names
