"""Accepting and rejecting X-rays, with a note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.readiness import foreign
from XVRegistrationLib.registration.review import DECISIONS, Review
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.reviews import read_review, write_review
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.xrays import Xrays


class Reviewing:
    """The reviews of a session's X-rays, which are kept in the scene."""

    def __init__(self, context: Context, xrays: Xrays) -> None:
        self._context = context
        self._xrays = xrays

    def can_accept(self, node: Any) -> str:
        """Why an X-ray cannot be accepted; empty if it can."""
        obstacle = self.can_review(node)
        if not obstacle and registration_that_holds(node) is None:
            obstacle = _("Register {name} where it stands before it is accepted.").format(name=name_of(node))
        return obstacle

    def can_review(self, node: Any) -> str:
        """Why an X-ray can be neither rejected nor given a note; empty if it can."""
        return _("Select an X-ray in the table.") if node is None else foreign(self._xrays, [node])

    def review(self, node: Any, decision: str | None, note: str | None) -> None:
        """Keep a decision, of `review.DECISIONS`, and a note; what is None stays."""
        if decision is not None and decision not in DECISIONS:
            raise InputError(_("Decide by one of these words: {words}.").format(words=", ".join(DECISIONS)))
        obstacle = self.can_accept(node) if decision == "accepted" else self.can_review(node)
        if obstacle:
            raise InputError(obstacle)
        before = read_review(node).review
        chosen = next((known for known in DECISIONS if known == decision), before.decision)
        now = Review(chosen, before.note if note is None else note.strip())
        if now == before:
            return
        write_review(node, now)
        if now.decision != before.decision:
            words = {"accepted": _("{name} is accepted."), "rejected": _("{name} is rejected.")}
            self._context.say(words.get(now.decision, _("{name} is open again.")).format(name=name_of(node)))
        self._context.changed.emit("xrays")
