"""Moving the C-arm of a shown X-ray by hand: steps along the detector's axes, undo and redo, reset, copy and paste."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.detector_motion import AXES, motion_between, moved
from XVRegistrationLib.geometry.pose_text import pose_of_text, pose_text
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import AdjustView
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.results import changed_since, read_registration
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.second_view import SecondView
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays

_MOST = 200  # poses that can be gone back to, of each X-ray
_AT_REST_SECONDS = 0.5
"""What moves with shorter breaks, by the mouse or a key that is held down, is undone at once."""
_SAME = 1e-9


@dataclass(eq=False)
class _History:
    poses: list[NDArray[np.float64]] = field(default_factory=list)
    at: int = -1

    @property
    def pose(self) -> NDArray[np.float64]:
        return self.poses[self.at]

    def add(self, pose: NDArray[np.float64]) -> None:
        """This pose is the newest; what was undone before it cannot be redone any more."""
        self.poses = [*self.poses[: self.at + 1], pose][-_MOST:]
        self.at = len(self.poses) - 1


class Adjusting:
    """The pose of the X-ray that a view shows, and the poses that each X-ray has had in this session."""

    def __init__(
        self,
        context: Context,
        patient: Patient,
        xrays: Xrays,
        viewing: Viewing | SecondView,
        shared: Adjusting | None = None,
    ) -> None:
        """`viewing` says which X-ray that is; with `shared` the poses of each are those of this other view's too."""
        self._context = context
        self._patient = patient
        self._xrays = xrays
        self._viewing = viewing
        self._histories: dict[tuple[str, int], _History] = {} if shared is None else shared._histories
        self.forget()

    def forget(self) -> None:
        """Let go of all poses."""
        self._histories.clear()
        self._pose: NDArray[np.float64] | None = None
        self._key: tuple[str, int] | None = None
        self._moved_at = 0.0
        self._axis = -1

    def tick(self) -> None:
        """Look whether the C-arm was moved, by whatever; what came to rest can be undone."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        node = self._viewing.node
        pose = self._pose_now(node)
        if node is None or pose is None:
            self._key, self._pose = None, None
            return
        key = (node.GetID(), item_of(node))
        if key != self._key:
            self._prune()
            self._key, self._pose, self._moved_at = key, pose, 0.0
            self._commit()
        elif self._pose is None or not _same(pose, self._pose):
            self._pose, self._moved_at = pose, time.monotonic()
            self._context.changed.emit("adjust")
        elif not self._is_kept() and time.monotonic() - self._moved_at > _AT_REST_SECONDS:
            self._commit()

    # What can be done

    def obstacle(self) -> str:
        """Why the C-arm cannot be moved; empty if it can."""
        node = self._viewing.node
        if node is None:
            return _("Choose an X-ray of the table.")
        nodes = nodes_of(node)
        if nodes is None:
            return _("Enter the geometry of the X-ray.")
        try:
            pose_from_node(nodes.pose)
        except InputError as e:
            return str(e)
        return ""

    def can_undo(self) -> str:
        history = self._histories.get(self._key) if self._key is not None else None
        can = history is not None and (history.at > 0 or not self._is_kept())
        return self.obstacle() or ("" if can else _("The C-arm has not been moved."))

    def can_redo(self) -> str:
        history = self._histories.get(self._key) if self._key is not None else None
        can = history is not None and history.at + 1 < len(history.poses) and self._is_kept()
        return self.obstacle() or ("" if can else _("Nothing was undone."))

    def can_reset(self) -> str:
        obstacle = self.obstacle()
        if obstacle:
            return obstacle
        reference, registered = self._reference(self._viewing.node)
        if not _same(reference, pose_from_node(self._viewing.node), 1e-6):
            return ""
        return _("It is where it was registered.") if registered else _("It is where it was put at first.")

    def view(self) -> AdjustView:
        """How far the C-arm has been moved, and from where."""
        if self.obstacle():
            return AdjustView()
        node = self._viewing.node
        reference, registered = self._reference(node)
        motion = motion_between(reference, pose_from_node(node), self._patient.center, _mirrored(node))
        return AdjustView(tuple(float(v) + 0.0 for v in np.round(motion, 6)), registered)

    # Doing it

    def nudge(self, axis: str, amount: float) -> None:
        """Move what is seen along an axis of AXES by so many mm or degrees."""
        number = _number_of(axis)
        if not np.isfinite(amount):
            raise InputError(_("A step is a number of mm or degrees."))
        node = self._ready()
        if number != self._axis:
            self._commit()
        self._axis = number
        motion = np.zeros(6)
        motion[number] = amount
        self._set(node, moved(pose_from_node(node), motion, self._patient.center, _mirrored(node)))

    def set_motion(self, motion: Sequence[float]) -> None:
        """Put the C-arm where it is moved so, as `view().motion` says, from its reference."""
        if len(motion) != len(AXES) or not np.isfinite(motion).all():
            raise InputError(_("A motion is six numbers: three shifts in mm and three turns in degrees."))
        node = self._ready()
        reference, _registered = self._reference(node)
        self._set(node, moved(reference, motion, self._patient.center, _mirrored(node)))

    def undo(self) -> None:
        obstacle = self.can_undo()
        if obstacle:
            raise InputError(obstacle)
        self._step(-1)

    def redo(self) -> None:
        obstacle = self.can_redo()
        if obstacle:
            raise InputError(obstacle)
        self._step(1)

    def reset(self) -> None:
        """Back to where it was registered, or else to where it was put at first."""
        node = self._ready()
        self.put(node, self._reference(node)[0])

    def copy(self, node: Any = None) -> str:
        """The pose of an X-ray, else the current one, as text."""
        node = self._ready() if node is None else node
        nodes = nodes_of(node) if alive(self._context.scene, node) else None
        if nodes is None:
            raise InputError(_("Choose an X-ray that is placed in the scene."))
        return pose_text(pose_from_node(nodes.pose))

    def paste(self, text: str) -> None:
        """Put the current X-ray's C-arm at the pose of a text, of this X-ray or of another."""
        node = self._ready()
        self.put(node, pose_of_text(text))

    def put(self, node: Any, pose: ArrayLike) -> None:
        """Move an X-ray's C-arm to a pose (4, 4), camera -> RAS, mm, as one step that can be undone."""
        self._commit()
        self._axis = -1
        self._set(node, np.asarray(pose, dtype=np.float64))
        self._commit()

    # Inside

    def _ready(self) -> Any:
        obstacle = self.obstacle()
        if obstacle:
            raise InputError(obstacle)
        self.tick()
        return self._viewing.node

    def _set(self, node: Any, pose: NDArray[np.float64]) -> None:
        nodes = nodes_of(node)
        assert nodes is not None
        set_pose(nodes, _orthonormal(pose))
        if node is self._viewing.node:
            self.tick()

    def _step(self, by: int) -> None:
        self._commit()
        assert self._key is not None
        history = self._histories[self._key]
        history.at = min(max(history.at + by, 0), len(history.poses) - 1)
        self._axis = -1
        nodes = nodes_of(self._viewing.node)
        assert nodes is not None
        set_pose(nodes, history.pose)
        self._pose = self._pose_now(self._viewing.node)
        self._context.changed.emit("adjust")

    def _commit(self) -> None:
        """The present pose can be gone back to from now on."""
        if self._key is None or self._pose is None or self._is_kept():
            return
        self._histories.setdefault(self._key, _History()).add(self._pose)
        self._context.changed.emit("adjust")

    def _is_kept(self) -> bool:
        history = self._histories.get(self._key) if self._key is not None else None
        return history is not None and self._pose is not None and _same(history.pose, self._pose)

    def _prune(self) -> None:
        """Forget X-rays that are gone."""
        ids = {node.GetID() for node in self._xrays.nodes()}
        for key in [key for key in self._histories if key[0] not in ids]:
            del self._histories[key]

    def _pose_now(self, node: Any) -> NDArray[np.float64] | None:
        nodes = None if node is None else nodes_of(node)
        try:
            return None if nodes is None else pose_from_node(nodes.pose)
        except InputError:
            return None

    def _reference(self, node: Any) -> tuple[NDArray[np.float64], bool]:
        """The pose that motions are counted from, and whether it was registered there."""
        found = read_registration(node)
        if found is not None and changed_since(node, found) in ("", "pose"):
            with contextlib.suppress(InputError, KeyError, TypeError, ValueError):
                return check_rigid(found["pose"]), True
        return self._xrays.first_pose(node)[0], False


def _mirrored(node: Any) -> bool:
    return read_intrinsics(node).mirrored


def _number_of(axis: str) -> int:
    if axis not in AXES:
        raise InputError(f"There is no axis {axis!r}; there are {', '.join(AXES)}.")
    return AXES.index(axis)


def _same(a: NDArray[np.float64], b: NDArray[np.float64], most: float = _SAME) -> bool:
    return bool(np.abs(a - b).max() <= most)


def _orthonormal(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose without what many steps add up to by rounding."""
    u, _size, v = np.linalg.svd(pose[:3, :3])
    exact = pose.copy()
    exact[:3, :3] = u @ v
    return exact
