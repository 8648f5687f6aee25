"""4. Register: from where to start, the button, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, show_progress

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.widgets.setup_section import SetupSection


class RegisterSection:
    """The check boxes are bound to the parameter node by the module; here is the rest."""

    def __init__(self, ui: Any, session: Session, setup: SetupSection) -> None:
        self.ui = ui
        self._session = session
        self._setup = setup
        ui.registerButton.clicked.connect(self.on_register)
        ui.cancelRegistrationButton.clicked.connect(self.on_cancel)

    def show(self) -> None:
        obstacle = self._setup.obstacle or self._session.can_register()
        allow(self.ui.registerButton, obstacle, _("Find the C-arm pose of every X-ray that is checked in the table."))
        purpose = _("Stop; X-rays that were not reached stay as they are.")
        allow(self.ui.cancelRegistrationButton, self._session.can_cancel_registration(), purpose)
        show_progress(self.ui.registrationProgressBar, self._session.registration_progress())

    def on_register(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The X-rays could not be registered.")):
            self._session.register()

    def on_cancel(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The registration could not be stopped.")):
            self._session.cancel_registration()
