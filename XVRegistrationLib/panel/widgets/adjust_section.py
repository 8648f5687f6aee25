"""6. Correct it: moving the C-arm by numbers and keys, going back, and copying a pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, quietly, show_text
from XVRegistrationLib.panel.widgets.pose_keys import PoseKeys, explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.panel.session import Session


class AdjustSection:
    """Six spin boxes that say how far the C-arm was moved, and what moves it."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._spins = {
            "right": ui.rightSpinBox,
            "down": ui.downSpinBox,
            "depth": ui.depthSpinBox,
            "tilt": ui.tiltSpinBox,
            "swing": ui.swingSpinBox,
            "turn": ui.turnSpinBox,
        }
        self._purposes = [str(spin.property("toolTip")) for spin in self._spins.values()]
        self._keys = PoseKeys(ui.keysButton, self.on_key, self.on_key_beside)
        for spin in self._spins.values():
            spin.valueChanged.connect(self.on_motion)
        ui.stepSpinBox.valueChanged.connect(self.on_step)
        ui.keysButton.toggled.connect(self.on_keys)
        ui.undoPoseButton.clicked.connect(self.on_undo)
        ui.redoPoseButton.clicked.connect(self.on_redo)
        ui.resetPoseButton.clicked.connect(self.on_reset)
        ui.copyPoseButton.clicked.connect(self.on_copy)
        ui.pastePoseButton.clicked.connect(self.on_paste)
        self.on_step()

    def show(self) -> None:
        session, ui = self._session, self.ui
        self._keys.follow()
        obstacle = session.can_adjust()
        view = session.adjust_view()
        text = (
            _("Moved from where it was registered, along the detector's axes:")
            if view.registered
            else _("Moved from where it was put at first, along the detector's axes:")
        )
        show_text(ui.motionLabel, obstacle or text)
        for spin, purpose, value in zip(self._spins.values(), self._purposes, view.motion, strict=True):
            allow(spin, obstacle, purpose)
            with quietly(spin):
                if abs(float(spin.property("value")) - value) > 5e-3 or obstacle:
                    spin.setValue(value)
        allow(ui.keysButton, obstacle, explanation())
        allow(ui.undoPoseButton, session.can_undo_pose(), _("Move the C-arm back to where it was before."))
        allow(ui.redoPoseButton, session.can_redo_pose(), _("Take back what Undo did."))
        purpose = _("Move the C-arm back to where it was registered, or else put at first.")
        allow(ui.resetPoseButton, session.can_reset_pose(), purpose)
        allow(ui.copyPoseButton, obstacle, _("Copy the pose as text: a 4x4 matrix, C-arm to patient, in mm."))
        purpose = _(
            "Move the C-arm to the pose that was copied from this X-ray, another one, a result's file or a transform."
        )
        allow(ui.pastePoseButton, obstacle, purpose)

    def enter(self) -> None:
        """The module is opened: the keys move again if they did before."""
        self.on_keys(bool(self.ui.keysButton.property("checked")))

    def exit(self) -> None:
        """Another module is opened, or this one goes: the views' keys are their own again."""
        self._keys.stop()

    def on_motion(self, changed: float = 0.0) -> None:
        """The user changed one of the numbers; the others stay as exact as they are."""
        with answering(self._session.say, _("The C-arm could not be moved.")):
            motion = list(self._session.adjust_view().motion)
            for index, spin in enumerate(self._spins.values()):
                value = float(spin.property("value"))
                if abs(value - motion[index]) > 5.001e-3:
                    motion[index] = value
            self._session.set_motion(motion)

    def on_step(self, step: float = 0.0) -> None:
        for spin in self._spins.values():
            spin.setSingleStep(float(self.ui.stepSpinBox.property("value")))

    def on_key(self, axis: str, steps: int) -> None:
        with answering(self._session.say, _("The C-arm could not be moved.")):
            self._session.nudge(axis, steps * float(self.ui.stepSpinBox.property("value")))

    def on_key_beside(self) -> None:
        self._session.say(_("Keys move the X-ray of the first view; to move this one, choose it in the table."))

    def on_keys(self, checked: bool) -> None:
        if checked:
            self._keys.start()
        else:
            self._keys.stop()

    def on_undo(self, checked: bool = False) -> None:
        self._do(self._session.undo_pose)

    def on_redo(self, checked: bool = False) -> None:
        self._do(self._session.redo_pose)

    def on_reset(self, checked: bool = False) -> None:
        self._do(self._session.reset_pose)

    def on_copy(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The pose could not be copied.")):
            qt.QApplication.clipboard().setText(self._session.copy_pose())
            self._session.say(_("The pose was copied."))

    def on_paste(self, checked: bool = False) -> None:
        self._do(lambda: self._session.paste_pose(str(qt.QApplication.clipboard().text())))

    def _do(self, what: Callable[[], None]) -> None:
        with answering(self._session.say, _("The C-arm could not be moved.")):
            what()
