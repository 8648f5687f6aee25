"""Fields of a TOML file, each checked as it is taken, and named in the sentence that says what is wrong with it."""

from __future__ import annotations

import math
import tomllib
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; InputError where it is missing or not TOML."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the TOML file of a protocol.")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise InputError(f"{path} is not a TOML file: {e}.") from e


class Fields:
    """One table of a file, whose fields are taken one by one; `finish` refuses what nobody took."""

    def __init__(self, file: Path, table: str, content: Any, *, whole_file: bool = False) -> None:
        """Take over a table; `whole_file` says that it is the file's top, whose fields have no table before them."""
        self._file, self._prefix = file, "" if whole_file else f"{table}."
        if not isinstance(content, dict):
            raise InputError(f"{file}: {table} must be a table, [{table}] and lines below it.")
        self._content = dict(content)

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def wrong(self, name: str, sentence: str) -> InputError:
        """The error that names file and field; `sentence` goes on with what it must be."""
        return InputError(f"{self._file}: {self._prefix}{name} {sentence}.")

    def finish(self) -> None:
        """Raise InputError for a field that is not known."""
        for name in self._content:
            raise self.wrong(name, "is not a field of a protocol; see the ones in Resources/protocols")

    def take(self, name: str, default: Any = None, *, required: bool = False) -> Any:
        """The field as TOML has it."""
        if required and name not in self._content:
            raise self.wrong(name, "is missing")
        return self._content.pop(name, default)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        value = self.take(name, default, required=default is None)
        if not isinstance(value, str):
            raise self.wrong(name, f"must be a text in quotes, not {value!r}")
        return value

    def texts(self, name: str, default: Sequence[str]) -> tuple[str, ...]:
        """A list of texts."""
        value = self.take(name, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, f"must be a list of texts in quotes, not {value!r}")
        return tuple(value)

    def number(self, name: str, default: float | None = None, low: float = -math.inf, high: float = math.inf) -> float:
        """A number between two bounds, both allowed; required where there is no default."""
        return self._number(name, self.take(name, default, required=default is None), low, high)

    def whole(self, name: str, default: int | None = None, low: int = 0) -> int:
        """A whole number of at least `low`; required where there is no default."""
        value = self.take(name, default, required=default is None)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.wrong(name, f"must be a whole number of at least {low}, not {value!r}")
        return value

    def numbers(
        self, name: str, count: int, default: Sequence[float] | None = None, low: float = -math.inf
    ) -> tuple[float, ...]:
        """`count` numbers of at least `low`; required where there is no default."""
        value = self.take(name, None if default is None else list(default), required=default is None)
        if not isinstance(value, list) or len(value) != count:
            raise self.wrong(name, f"must be a list of {count} numbers, not {value!r}")
        return tuple(self._number(name, item, low, math.inf) for item in value)

    def bounds(self, name: str, default: tuple[float, float], low: float = 0.0) -> tuple[float, float]:
        """A lower and an upper bound, in this order."""
        first, last = self.numbers(name, 2, default, low)
        if first > last:
            raise self.wrong(name, f"must begin with the smaller of its two numbers, not {first:g}")
        return first, last

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(name, f"must be a number, not {value!r}")
        if not low <= value <= high:
            limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise self.wrong(name, f"must be {limits}, not {value:g}")
        return float(value)
