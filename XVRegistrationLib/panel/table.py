"""The rows of the table of X-rays: what is known of each in words, and what came of its registration in words and a mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.subtraction import text_of_frames
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import CHECK, CONVERGED, FAILED, UNKNOWN, WORKING, XrayRow
from XVRegistrationLib.panel.words import translated
from XVRegistrationLib.scene.attributes import read_known, read_missing, read_notes, read_origins, read_scale
from XVRegistrationLib.scene.ignored import rectangles_of
from XVRegistrationLib.scene.results import changed_since, read_registration, read_trust
from XVRegistrationLib.scene.reviews import read_review
from XVRegistrationLib.scene.runs import frame_of, item_of, run_of
from XVRegistrationLib.scene.thumbnails import thumbnail
from XVRegistrationLib.scene.xray_source import read_source
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.xrays import Xrays
    from XVRegistrationLib.registration.result import Trust
    from XVRegistrationLib.registration.review import Review


class RowMaker:
    """Makes rows, and keeps pictures and failures, which are not in the scene."""

    def __init__(self, xrays: Xrays) -> None:
        self._xrays = xrays
        self._failed: dict[Any, dict[int, tuple[str, str]]] = {}
        """By node and frame."""
        self._pictures: dict[Any, tuple[tuple[Any, ...], NDArray[Any] | None]] = {}

    def outcome(self, node: Any, state: str, text: str, item: int | None = None) -> None:
        """Keep the outcome of a try that left nothing in the scene, for a frame, else the shown one; an empty state forgets it."""
        which = item_of(node) if item is None else item
        tries = self._failed.setdefault(node, {})
        tries.pop(which, None)
        if state:
            tries[which] = state, text

    def forget(self, node: Any = None) -> None:
        """Forget what is kept of a node, or of all."""
        for kept in (self._failed, self._pictures):
            if node is None:
                kept.clear()
            else:
                kept.pop(node, None)

    def prune(self, scene: Any) -> None:
        """Forget nodes that are no longer in the scene."""
        for node in {*self._failed, *self._pictures}:
            if not alive(scene, node):
                self.forget(node)

    def row(self, node: Any, doing: str, current: bool) -> XrayRow:
        """The row of an X-ray's image node; `doing` is "queued", "registering" or empty."""
        known = read_known(node)
        missing = tuple(read_missing(node)) or tuple(f for f in ("sdd", "spacing") if f not in known)
        state, outcome, look, hint = self._outcome(node, doing, missing)
        run = run_of(node)
        kept = read_review(node)
        if state in ("registered", "ready", "failed", "incomplete"):
            outcome, look, hint = _reviewed(kept.review, outcome, look, hint)
        return XrayRow(
            node_id=node.GetID(),
            node=node,
            name=name_of(node),
            checked=self._xrays.is_checked(node),
            current=current,
            state=state,
            outcome=outcome,
            look=look,
            hint=hint or outcome,
            geometry=", ".join(text for text in (_shown(node), _geometry(known)) if text),
            values={**known, "dense_is_bright": read_scale(node) == "attenuation"},
            origins=_origins(node),
            missing=missing,
            notes=read_notes(node),
            thumbnail=self._picture(node),
            source=read_source(node),
            item=item_of(node),
            count=1 if run is None else run.count,
            ignored=len(rectangles_of(node)),
            review=kept.review.decision,
            note=kept.review.note,
            review_outdated=kept.outdated,
        )

    def _outcome(self, node: Any, doing: str, missing: tuple[str, ...]) -> tuple[str, str, str, str]:
        """State, words, look, and what they mean where there is more to say."""
        if doing == "registering":
            return doing, _("being registered..."), WORKING, ""
        if doing == "queued":
            return doing, _("waiting"), WORKING, ""
        if missing:
            return "incomplete", _("geometry missing"), UNKNOWN, ""
        state, text = self._failed.get(node, {}).get(item_of(node), ("", ""))
        if state:
            return state, _("failed: {reason}").format(reason=text), FAILED, ""
        found = read_registration(node)
        if found is None:
            return "ready", _("not registered"), UNKNOWN, ""
        return "registered", *_result(node, found)

    def _picture(self, node: Any) -> NDArray[Any] | None:
        display, image = node.GetDisplayNode(), node.GetImageData()
        if image is None:
            return None
        looks = () if display is None else (display.GetWindow(), display.GetLevel(), display.GetColorNodeID())
        key = (image.GetMTime(), node.GetSpacing(), looks)
        if node not in self._pictures or self._pictures[node][0] != key:
            try:
                self._pictures[node] = key, thumbnail(node)
            except InputError:
                self._pictures[node] = key, None
        return self._pictures[node][1]


def _result(node: Any, found: dict[str, Any]) -> tuple[str, str, str]:
    """Words, look, and their meaning in sentences, of what a registration found."""
    number = f"{float(found.get('similarity', 0.0)):.2f}"
    changed = changed_since(node, found)
    if changed == "geometry":
        return _("geometry changed since; register again"), CHECK, ""
    if changed == "volume":
        return _("the CT was moved since; register again"), CHECK, ""
    if changed == "pose":
        return _("moved since; was registered, similarity {number}").format(number=number), CHECK, ""
    trust = read_trust(found)
    if trust is None:
        words = _("registered, similarity {number}; register again for a verdict").format(number=number)
        return (
            words,
            CHECK,
            _("An earlier version registered this X-ray, without a verdict. Look at the blended image."),
        )
    return *_verdict(trust.verdict, number), _reasons(trust)


def _reviewed(review: Review, outcome: str, look: str, hint: str) -> tuple[str, str, str]:
    """Words, look and hint of an outcome with what was decided; a rejected pose does not look as if it were to be used."""
    if review.note:
        hint = f"{hint or outcome}\n{_('Note: {note}').format(note=review.note)}"
    if review.decision == "rejected":
        return _("rejected; was: {outcome}").format(outcome=outcome), UNKNOWN, hint
    if review.decision == "accepted":
        return _("accepted; {outcome}").format(outcome=outcome), look, hint
    return outcome, look, hint


def _verdict(verdict: str, number: str) -> tuple[str, str]:
    """A verdict in words, with the similarity, and its look."""
    if verdict == "converged":
        return _("converged, similarity {number}").format(number=number), CONVERGED
    if verdict == "check":
        return _("check, similarity {number}").format(number=number), CHECK
    return _("failed, similarity {number}").format(number=number), FAILED


def _reasons(trust: Trust) -> str:
    """Why the verdict is what it is, and what is known least; the similarity has no part in either."""
    return _(
        "{reason} The image says least about {weakest}. The similarity is that of the X-ray and the volume rendered at "
        "the pose that was found, at most 1."
    ).format(reason=translated(trust.reason), weakest=translated(trust.weakest))


def _shown(node: Any) -> str:
    """Which frame of its file an X-ray is, or what of all of them, and whether it is subtracted; empty for a plain image."""
    source, frame = read_source(node), frame_of(node)
    if source is None:
        return ""
    parts = []
    if source.frames > 1:
        words = {"min": _("least radiation"), "max": _("most radiation"), "mean": _("mean")}
        how = words.get(str(source.shown), "")
        over = _("{how} of {count} frames").format(how=how, count=source.frames)
        of_run = _("frame {number} of 0-{last}").format(number=frame, last=source.frames - 1)
        parts.append(over if how else of_run)
    if source.subtracted and source.mask_frames:
        parts.append(_("less frames {mask}").format(mask=text_of_frames(source.mask_frames)))
    elif source.subtracted:
        parts.append(_("subtracted"))
    return ", ".join(parts)


def _geometry(known: dict[str, Any]) -> str:
    """Distance, spacing and size in words."""
    parts = []
    if known.get("sdd") is not None:
        parts.append(_("distance {mm} mm").format(mm=f"{known['sdd']:.0f}"))
    if known.get("spacing") is not None:
        dx, dy = known["spacing"]
        same = np.isclose(dx, dy)
        parts.append(_("pixel {mm} mm").format(mm=f"{dx:.3g}" if same else f"{dx:.3g} x {dy:.3g}"))
    if known.get("size") is not None:
        parts.append(f"{known['size'][0]} x {known['size'][1]}")
    if known.get("mirrored"):
        parts.append(_("mirrored"))
    return ", ".join(parts)


def _origins(node: Any) -> dict[str, str]:
    """The scale's origin under the name that it has among the values."""
    origins = read_origins(node)
    if "scale" in origins:
        origins["dense_is_bright"] = origins.pop("scale")
    return origins
