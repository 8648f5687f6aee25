"""The tutorial's text as steps: what a sentence asks for, and by which words on the screen.

What is on the screen stands in **bold** in the tutorial. Every sentence with bold words must be one of the kinds below,
so that a program can do what a reader is told to do, and notice where the text and the panel do not agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = Path(__file__).resolve().parents[2] / "Documentation/tutorial.md"
_NAME = r"\*\*(.+?)\*\*"
_FILE = r"`([^`]+)`"
_KINDS = {
    "module": rf"Open the module {_NAME}",
    "sample": rf"Click the sample {_NAME}",
    "row": rf"Click the row {_NAME}",
    "files": rf"Click {_NAME} and open {_FILE} and {_FILE}",
    "save": rf"Click {_NAME} and save it as {_FILE}",
    "folder": rf"Click {_NAME} and choose the folder {_FILE}",
    "click": rf"Click {_NAME}",
    "choose": rf"Choose {_NAME} at {_NAME}",
    "type": rf"Type {_NAME} at {_NAME}",
    "tick": rf"Tick {_NAME}",
    "untick": rf"Untick {_NAME}",
    "browser": rf"Open {_NAME} in a browser",
    "wait": rf"Wait until the panel says {_NAME}",
    "says": rf"The panel says {_NAME}",
}
"""How the sentence of each kind begins; what follows in it is for the reader alone."""


@dataclass(frozen=True)
class Step:
    """One thing to do, to wait for, or to take a picture of."""

    kind: str
    """Of `_KINDS`, or "picture"."""
    words: tuple[str, ...]
    """What the sentence names, in its order; of a picture, its path relative to the tutorial."""
    text: str
    """The sentence, for messages."""


def read_steps(text: str) -> list[Step]:
    """The steps of a tutorial in Markdown; ValueError, with the sentence, where its bold words are in no known sentence."""
    steps = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\d+\. |- |#)", text):
        line = re.sub(r"^(?:\d+\.|-) ", "", " ".join(paragraph.split()))
        picture = re.fullmatch(r"!\[[^\]]+\]\(([^)]+)\)", line)
        if picture:
            steps.append(Step("picture", (picture.group(1),), line))
            continue
        # A sentence ends where the next begins with a capital letter: **Add files...** and "1. Patient" end none.
        sentences = re.split(r"(?<=[a-z`*)\d][.:]) (?=[A-Z])", line)
        steps += [_step(sentence) for sentence in sentences if "**" in sentence]
    return steps


def _step(sentence: str) -> Step:
    for kind, pattern in _KINDS.items():
        found = re.match(pattern, sentence)
        if found and "**" not in sentence[found.end() :]:
            return Step(kind, found.groups(), sentence)
    raise ValueError(f"The tutorial asks for what nobody can follow: {sentence}")
