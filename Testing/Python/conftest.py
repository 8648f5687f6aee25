"""How the tests are shared out among processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent
_ONE_APPLICATION = ("mrml", "panel")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The tests of a file stay together, and so do all that share the one application a process has, in their order."""
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        group = "application" if folder in _ONE_APPLICATION else str(item.path.relative_to(_HERE))
        item.add_marker(pytest.mark.xdist_group(group))
