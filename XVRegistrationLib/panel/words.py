"""Sentences of the library that the panel shows, in the user's language.

The library speaks English and knows no translation. Of what it says to be shown as it is, templates stand here, where they
are found to be translated. Sentences of InputErrors are not among them: they stay English.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from XVRegistrationLib.panel.i18n import tr

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = ("count", "mm", "degrees")
"""Placeholders that stand for a number."""


def translated(text: str) -> str:
    """A sentence of the library in the user's language, with what is filled into it; as it is where it is not known."""
    return _whole(text) or ", ".join(_whole(part) or part for part in text.split(", "))


def _whole(text: str) -> str:
    for pattern, template in zip(_patterns(), _sentences(tr), strict=True):
        found = pattern.fullmatch(text)
        if found:
            filled = found.groupdict()
            return template.format(**{n: value if n == "names" else translated(value) for n, value in filled.items()})
    return ""


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_pattern(sentence)) for sentence in _sentences(str))


def _pattern(sentence: str) -> str:
    """Of a template: what its placeholders may stand for."""
    parts = re.split(r"{(\w+)}", sentence)
    words = [re.escape(part) for part in parts[::2]]
    names = [f"(?P<{name}>{'[0-9.]+' if name in _NUMBERS else '.+'})" for name in parts[1::2]]
    return "".join(word + name for word, name in zip(words, [*names, ""], strict=True))


def _sentences(_: Callable[[str], str]) -> tuple[str, ...]:
    return (
        # Titles of presets
        _("Thorax, from the front (AP)"),
        _("Thorax, from behind (PA)"),
        _("Thorax, detector at the left side"),
        _("Pelvis, from the front (AP)"),
        _("Pelvis, from behind (PA)"),
        _("Spine, from the front (AP)"),
        _("Spine, from behind (PA)"),
        _("Spine, detector at the left side"),
        _("Spine, detector at the right side"),
        _("Skull, from the front (AP)"),
        _("Skull, from behind (PA)"),
        _("Skull, detector at the left side"),
        _("Limb or joint, from the front (AP)"),
        _("Limb or joint, detector at the left side"),
        _("Vessels of the head, from behind (PA)"),
        _("Vessels of the head, detector at the left side"),
        # Verdicts
        _("X-ray and render agree, no other pose does as well, and the pose has settled."),
        _("Look at the overlay: verdicts are not calibrated for {kind}."),
        _("X-rays that show more than the volume"),
        _("structures by themselves"),
        _("The views disagree: one of them alone would move it by {mm} mm in its plane. Check their relation."),
        _("Do not use this pose: nothing of what is registered falls on {names} there."),
        _("Look at the overlay before using it: {doubt}."),
        _("Do not use this pose: {doubt}."),
        _("the X-ray and its render are less alike than those of good registrations"),
        _("the X-ray and its render are less alike, even seen coarsely, than those of good registrations"),
        _("the image leaves much of the pose open"),
        _("the pose still moved at the last resolution"),
        _("another pose explains the X-ray nearly as well"),
        _("the shift along the image's rows: +-{mm} mm (95 %)"),
        _("the shift along its columns: +-{mm} mm (95 %)"),
        _("depth along the beam: +-{mm} mm (95 %)"),
        _("the tilt about the image's horizontal: +-{degrees} degrees (95 %)"),
        _("the turn about its vertical: +-{degrees} degrees (95 %)"),
        _("the spin in the image's plane: +-{degrees} degrees (95 %)"),
        # Targets
        _("depth +-{mm} mm (95 %)"),
        # Reports
        _("1 X-ray: {groups}. Signed off: every X-ray was accepted or rejected."),
        _("1 X-ray: {groups}. Not signed off: to be decided are {names}."),
        _("{count} X-rays: {groups}. Signed off: every X-ray was accepted or rejected."),
        _("{count} X-rays: {groups}. Not signed off: to be decided are {names}."),
        _("Of runs this is about the frame shown; 1 other registered frame is open."),
        _("Of runs this is about the frame shown; {count} other registered frames are open."),
        _("{count} accepted"),
        _("{count} rejected"),
        _("{count} open"),
        _("{count} without a pose"),
    )
