"""5. See it and 6. Correct it: the X-ray that is shown, the handles of its C-arm, and refining from where they were put."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.handles import handles_shown, hide_handles, show_handles
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, quietly, show_text

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow
    from XVRegistrationLib.panel.widgets.setup_section import SetupSection


class ViewSection:
    """Blend and overlays are bound to the parameter node by the module; here is the rest."""

    def __init__(self, ui: Any, session: Session, setup: SetupSection) -> None:
        self.ui = ui
        self._session = session
        self._setup = setup
        self._pose: Any = None  # the transform whose handles this section may have shown
        ui.handlesButton.toggled.connect(self.on_handles)
        ui.refineButton.clicked.connect(self.on_refine)

    def show(self, row: XrayRow | None) -> None:
        """Show the current X-ray's row of the table, or that there is none."""
        text = _("Shown: {name}").format(name=row.name) if row is not None else _("Select an X-ray in the table above.")
        show_text(self.ui.shownLabel, text)
        pose = row.node.GetParentTransformNode() if row is not None else None
        if pose is not self._pose:
            hide_handles(self._pose)
            self._pose = pose
        obstacle = "" if pose is not None else _("Choose an X-ray that is placed in the scene.")
        allow(self.ui.handlesButton, obstacle, _("Show handles that turn and shift the C-arm about the patient."))
        with quietly(self.ui.handlesButton):
            self.ui.handlesButton.setChecked(handles_shown(pose))
        obstacle = self._setup.obstacle or self._session.can_refine()
        allow(
            self.ui.refineButton, obstacle, _("Register the shown X-ray from its pose as it stands, and nowhere else.")
        )

    def forget(self) -> None:
        """The scene closes: its nodes go."""
        self._pose = None

    def on_handles(self, checked: bool) -> None:
        parameters = self._session.parameters
        with answering(self._session.say, _("The handles could not be shown.")):
            if checked and self._pose is not None and parameters is not None:
                show_handles(self._pose, parameters.volume)
            else:
                hide_handles(self._pose)

    def on_refine(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The X-ray could not be refined.")):
            self._session.refine_from_here()
