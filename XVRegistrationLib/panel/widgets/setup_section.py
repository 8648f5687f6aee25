"""Setup: which Python packages are missing, and their installation; not shown when none is, open when one is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel import dependencies
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import answering, show_text

if TYPE_CHECKING:
    from collections.abc import Callable


class SetupSection:
    """The widgets above the numbered sections."""

    def __init__(self, ui: Any, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """`say` shows a sentence; `changed` is called after an installation."""
        self.ui = ui
        self._say = say
        self._changed = changed
        self._failure = ""
        self.missing: list[str] = []
        ui.installButton.clicked.connect(self.on_install)
        ui.installOptionalButton.clicked.connect(self.on_install_optional)
        self.show()
        ui.setupCollapsibleButton.collapsed = not self.missing and bool(dependencies.missing_optional())

    @property
    def obstacle(self) -> str:
        """Why nothing can be computed yet, as a sentence; "" if nothing is missing."""
        return _("Install the missing Python packages first: open Setup above.") if self.missing else ""

    def show(self) -> None:
        """Look for the packages and say which are missing."""
        self.missing = dependencies.missing()
        optional = dependencies.missing_optional()
        self.ui.setupCollapsibleButton.setVisible(bool(self.missing or optional))
        self.ui.installButton.setVisible(bool(self.missing))
        self.ui.installOptionalButton.setVisible(bool(optional))
        said = [_("Not installed yet: {packages}").format(packages=", ".join(self.missing))] if self.missing else []
        if optional:
            text = _("Not needed, but for DICOM segmentations: {packages}")
            said.append(text.format(packages=", ".join(optional)))
        show_text(self.ui.dependenciesLabel, "\n\n".join([*said, self._failure]).strip() if said else "")

    def on_install(self, checked: bool = False) -> None:
        self._install(dependencies.install)

    def on_install_optional(self, checked: bool = False) -> None:
        self._install(dependencies.install_optional)

    def _install(self, install: Callable[[], object]) -> None:
        self._failure = ""
        with answering(self._refuse, _("The installation failed.")):
            install()
        self.show()
        self._changed()

    def _refuse(self, text: str) -> None:
        """Say it beside the button too, where the user looks: the status line is far below."""
        self._failure = text
        self._say(text)
