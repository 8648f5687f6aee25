"""Make this process one that lacks packages, as a new Slicer does: `hide(["torch", "warp-lang", ...])`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_MODULES = {"warp-lang": "warp"}
"""Of distributions that are imported by another name than their own."""


def hide(requirements: Iterable[str]) -> None:
    """From now on these can neither be imported nor found, be they installed or not. Call it before any import."""
    hidden = {_normal(re.split(r"[<>=!~ \[]", requirement)[0]) for requirement in requirements}
    hidden |= {_MODULES.get(name, name) for name in hidden}
    loaded = hidden & {name.partition(".")[0] for name in sys.modules}
    if loaded:
        raise RuntimeError(f"already imported: {', '.join(sorted(loaded))}")
    sys.meta_path[:] = [_Finder(finder, hidden) for finder in sys.meta_path]


class _Finder:
    """What another finder finds, without the hidden names."""

    def __init__(self, finder: Any, hidden: set[str]) -> None:
        self._finder = finder
        self._hidden = hidden

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        # None, and not an ImportError: whoever asks find_spec whether a package is there is told that it is not.
        return None if name.partition(".")[0] in self._hidden else self._finder.find_spec(name, path, target)

    def find_distributions(self, context: Any) -> Any:
        find = getattr(self._finder, "find_distributions", None)
        if find is None or _normal(context.name or "") in self._hidden:
            return iter(())
        return find(context)

    def invalidate_caches(self) -> None:
        getattr(self._finder, "invalidate_caches", lambda: None)()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
