"""The one exception for bad input: its message is a sentence that a user can act on."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BAD_INPUT = 2
"""Exit code of a process that an InputError has ended."""
_ALL = 30
"""As many names are listed whole; of more, those that are most like what was asked for."""
_LIKE = 8


class InputError(ValueError):
    """What is wrong, in which file or field, and what to do. The command line prints it and exits with code 2."""

    def __init__(self, sentence: str = "", *, give: Sequence[str] = ()) -> None:
        """`give`: arguments that would mend it, by their names in this library; the command line says its options for them."""
        super().__init__(sentence)
        self.give = tuple(give)


def check_names(wanted: Iterable[str], there: Iterable[str], what: str) -> None:
    """Raise InputError unless all names that are `wanted` are `there`; it says which there are.

    `what` begins its sentence, up to the names: "The label map has no structure named".
    """
    known = list(dict.fromkeys(there))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InputError(f"{what} {', '.join(missing)}{names_there(known, missing)}")


def names_there(known: Sequence[str], wanted: Sequence[str] = ()) -> str:
    """The end of a sentence that says which names there are; of many, those that are most like the `wanted` ones."""
    if not known:
        return "; it has none."
    if len(known) <= _ALL:
        return f"; it has {', '.join(known)}."
    lower = {name.lower(): name for name in known}
    like = [lower[n] for w in wanted for n in difflib.get_close_matches(w.lower(), lower, _LIKE, 0.4)]
    shown = list(dict.fromkeys(like)) or list(known[:_LIKE])
    return f"; it has {', '.join(shown)} and {len(known) - len(shown)} others."
