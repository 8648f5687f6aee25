"""Landmark pairs, marked in the CT and on the current X-ray, of a run on the frame that is shown: how well they fit its pose, and the pose that fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import LandmarkRow
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.landmarks import (
    free_name,
    landmarks_of,
    make_marks,
    make_points,
    marks_of,
    misses,
    place_next,
    points_of,
    remove_landmark,
    set_point,
)
from XVRegistrationLib.scene.runs import frame_of, item_of, run_of
from XVRegistrationLib.scene.xrays import name_of, nodes_of

if TYPE_CHECKING:
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.adjusting import Adjusting
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.scene.landmarks import Landmark

LEAST = 4
"""Pairs that a pose needs."""


class Landmarking:
    """The landmarks of the present volume and the current X-ray."""

    def __init__(self, context: Context, patient: Patient, viewing: Viewing, adjusting: Adjusting) -> None:
        self._context = context
        self._patient = patient
        self._viewing = viewing
        self._adjusting = adjusting
        self.forget()

    def forget(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._wrong: dict[str, set[str]] = {}
        """Names of the marks that the last fit left out, by the X-ray's ID."""
        self._problem = ""

    def tick(self) -> None:
        """Look whether a landmark was marked or moved."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        node, volume = self._viewing.node, self._patient.node
        now = (
            node,
            None if node is None else item_of(node),
            _state(None if volume is None else points_of(volume)),
            _state(None if node is None else marks_of(node)),
        )
        if now != self._seen:
            if node is not None and self._seen[:1] == (node,):
                self._wrong.pop(node.GetID(), None)
            self._seen = now
            self._context.changed.emit("adjust")

    def rows(self) -> list[LandmarkRow]:
        """The landmarks with how far each falls beside its mark at the present pose."""
        landmarks, problem = self._landmarks()
        nodes = self._nodes()
        if problem:
            return [LandmarkRow(mark.name, mark.point, None, None, None, problem) for mark in landmarks]
        beside = np.full((len(landmarks), 2), np.nan)
        if nodes is not None and not self._adjusting.obstacle():
            beside = misses(landmarks, nodes)
        spacing = read_intrinsics(nodes.xray).spacing if nodes is not None else (1.0, 1.0)
        wrong = self._wrong.get(nodes.xray.GetID(), set()) if nodes is not None else set()
        frame = frame_of(nodes.xray) if nodes is not None and run_of(nodes.xray) is not None else None
        rows = []
        for mark, miss in zip(landmarks, beside, strict=True):
            px, mm = (float(np.hypot(*v)) for v in (miss, miss * spacing))
            known = bool(np.isfinite(px))
            note = _note(mark, mark.name in wrong)
            rows.append(
                LandmarkRow(
                    mark.name, mark.point, mark.pixel, px if known else None, mm if known else None, note, frame
                )
            )
        return rows

    # What can be done

    def can_mark_in_ct(self) -> str:
        return "" if self._patient.node is not None else _("Choose the CT.")

    def can_mark_in_xray(self) -> str:
        return self._adjusting.obstacle()

    def can_fit(self) -> str:
        obstacle = self.can_mark_in_ct() or self._adjusting.obstacle()
        if obstacle:
            return obstacle
        landmarks, problem = self._landmarks()
        pairs = sum(mark.point is not None and mark.pixel is not None for mark in landmarks)
        if problem or pairs >= LEAST:
            return problem
        return _("Mark at least four landmarks in the CT and on the X-ray; there are {count} pairs.").format(
            count=pairs
        )

    def mark_in_ct(self, name: str = "", point: tuple[float, float, float] | None = None) -> None:
        """Mark a landmark in the CT, RAS mm; without a point, where the user clicks next. Without a name, a new one."""
        _check(self.can_mark_in_ct())
        node = make_points(self._context.scene, self._patient.node)
        name = name or free_name(self._landmarks()[0])
        if point is not None:
            set_point(node, name, point)
            return
        place_next(self._context.scene, node, name)
        self._context.say(_("Click on landmark {name} in the CT.").format(name=name))

    def mark_in_xray(self, name: str = "", pixel: tuple[float, float] | None = None) -> None:
        """Mark a landmark on the current X-ray; without a pixel (column, row), where the user clicks next.

        Without a name it is the first that is marked in the CT alone.
        """
        _check(self.can_mark_in_xray())
        nodes = self._nodes()
        assert nodes is not None
        landmarks, problem = self._landmarks()
        _check(problem)
        name = name or next((mark.name for mark in landmarks if mark.pixel is None), free_name(landmarks))
        node = make_marks(self._context.scene, nodes)
        if pixel is not None:
            set_point(node, name, pixel_to_camera(pixel, read_intrinsics(nodes.xray)), nodes.xray)
            return
        remove_landmark(None, nodes.xray, name)
        place_next(self._context.scene, node, name)
        self._context.say(_("Click on landmark {name} in the X-ray's view.").format(name=name))

    def remove(self, name: str) -> None:
        """Remove a landmark's point in the CT and its mark on what is shown; marks on other X-rays and frames stay."""
        remove_landmark(self._patient.node, self._viewing.node, name)

    def fit(self) -> None:
        """Put the C-arm where the pairs say it is; the answer comes later, as a step that can be undone."""
        _check(self.can_fit())
        self.tick()
        nodes = self._nodes()
        assert nodes is not None
        pairs = [mark for mark in self._landmarks()[0] if mark.point is not None and mark.pixel is not None]
        names, node, seen = [mark.name for mark in pairs], nodes.xray, self._seen

        def fitted(message: Message) -> None:
            self.tick()
            if node is not self._viewing.node or seen != self._seen:
                self._context.say(_("The landmarks were changed meanwhile; fit again."))
                return
            self._wrong[node.GetID()] = {
                name for name, good in zip(names, message.fields["inliers"], strict=True) if not good
            }
            self._adjusting.put(node, message.fields["pose"])
            rms = float(message.fields["rms_px"])
            said = _("{name} is where {count} landmarks put it, to {rms} px; refine from here.").format(
                name=name_of(node), count=sum(message.fields["inliers"]), rms=f"{rms:.1f}"
            )
            self._context.say(f"{said} {message.fields['remark']}".strip())

        self._context.ask(
            "fit_landmarks",
            fitted,
            points=[mark.point for mark in pairs],
            pixels=[mark.pixel for mark in pairs],
            intrinsics=read_intrinsics(node).to_dict(),
        )

    # Inside

    def _nodes(self) -> Any:
        return None if self._viewing.node is None else nodes_of(self._viewing.node)

    def _landmarks(self) -> tuple[list[Landmark], str]:
        """The landmarks, and what is wrong with the marks on the X-ray, which are left out then."""
        try:
            return landmarks_of(self._patient.node, self._nodes()), ""
        except InputError as e:
            return landmarks_of(self._patient.node, None), str(e)


def _check(obstacle: str) -> None:
    if obstacle:
        raise InputError(obstacle)


def _note(mark: Landmark, wrong: bool) -> str:
    if mark.point is None:
        return _("Not marked in the CT.")
    if mark.pixel is None and mark.other_frames:
        frames = ", ".join(map(str, mark.other_frames))
        return _("Not marked on this frame; it is on frame {numbers}.").format(numbers=frames)
    if mark.pixel is None:
        return _("Not marked on this X-ray.")
    return _("Left out as wrong by the last fit.") if wrong else ""


def _state(markups_node: Any) -> tuple[Any, ...]:
    """What can be seen of a list of points."""
    if markups_node is None:
        return ()
    return tuple(
        (
            markups_node.GetNthControlPointLabel(i),
            markups_node.GetNthControlPointPositionStatus(i),
            tuple(markups_node.GetNthControlPointPosition(i)),
        )
        for i in range(markups_node.GetNumberOfControlPoints())
    )
