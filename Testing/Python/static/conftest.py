"""What the checks of the source tree share: where it is, and how its CMake lists and Python files are read."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]


class SourceTree:
    """The repository, read as text."""

    root = ROOT
    module = ROOT / "XVRegistration"
    library = ROOT / "XVRegistrationLib"
    resources = ROOT / "Resources"

    def cmake(self, file: str) -> str:
        """Text of a CMake file without comments."""
        lines = (self.root / file).read_text(encoding="utf-8").splitlines()
        return "\n".join(line.partition("#")[0] for line in lines)

    def cmake_set(self, file: str, name: str, **variables: str) -> list[str]:
        """Entries of `set(name ...)`, with the given variables filled in."""
        found = re.search(rf"\bset\({name}\s([^)]*)\)", self.cmake(file))
        assert found, f"{file} has no set({name} ...)"
        entries = found.group(1)
        for variable, value in variables.items():
            entries = entries.replace(f"${{{variable}}}", value)
        return entries.split()

    def files_below(self, folder: Path, pattern: str = "*") -> set[str]:
        """Files below `folder`, relative to it, that are not caches."""
        paths = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix() for path in paths}

    def library_files(self) -> list[Path]:
        """All Python files of the library."""
        return [self.library / name for name in sorted(self.files_below(self.library, "*.py"))]


def _names(node: ast.stmt) -> Iterator[str]:
    """Dotted names that one import statement may load: `from a import b` gives a and a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere: at file scope, in functions, for annotations."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) if isinstance(node, ast.stmt) for name in _names(node)}


def imports_at_file_scope(path: Path) -> set[str]:
    """Dotted names that are imported when the file is: not in functions and not only for annotations."""

    def visit(body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from visit(node.orelse)
                continue
            yield from _names(node)
            for field in ("body", "orelse", "finalbody"):
                yield from visit(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from visit(handler.body)

    return set(visit(ast.parse(path.read_text(encoding="utf-8")).body))


@pytest.fixture(scope="session")
def tree() -> SourceTree:
    return SourceTree()


@pytest.fixture(scope="session")
def imports_of():
    return imports


@pytest.fixture(scope="session")
def file_scope_imports_of():
    return imports_at_file_scope
