"""Setup: which Python packages are missing, and their installation; not shown when none is."""

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
        self.show()

    @property
    def obstacle(self) -> str:
        """Why nothing can be computed yet, as a sentence; "" if nothing is missing."""
        return _("Install the missing Python packages first: open Setup above.") if self.missing else ""

    def show(self) -> None:
        """Look for the packages and say which are missing."""
        self.missing = dependencies.missing()
        self.ui.setupCollapsibleButton.setVisible(bool(self.missing))
        packages = _("Not installed yet: {packages}").format(packages=", ".join(self.missing))
        text = f"{packages}\n\n{self._failure}".strip()
        show_text(self.ui.dependenciesLabel, text if self.missing else "")

    def on_install(self, checked: bool = False) -> None:
        self._failure = ""
        with answering(self._refuse, _("The installation failed.")):
            dependencies.install()
        self.show()
        self._changed()

    def _refuse(self, text: str) -> None:
        """Say it beside the button too, where the user looks: the status line is far below."""
        self._failure = text
        self._say(text)
