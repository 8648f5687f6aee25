"""Why X-rays cannot be registered: a sentence, or nothing if they can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.xrays import name_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.xrays import Xrays


class Readiness:
    """Looks at the volume, its model, the X-rays and the starts that were chosen."""

    def __init__(self, context: Context, patient: Patient, model: Model, xrays: Xrays) -> None:
        self._context = context
        self._patient = patient
        self._model = model
        self._xrays = xrays

    def unready(self) -> str:
        """Why nothing can be registered at all; a bank that is being made is waited for."""
        if self._context.parameters is None:
            return _("Choose the CT.")
        problem = "" if self._patient.key else self._patient.view().problem
        if self._patient.node is None or (problem and not self._patient.busy):
            return problem or _("Choose the CT.")
        return self._patient.view().problem or self._model.problem

    def to_register(self, nodes: Sequence[Any] | None) -> str:
        """Why these X-rays, or the checked ones, cannot be registered; empty if they can."""
        obstacle = self.unready()
        if obstacle:
            return obstacle
        chosen = self._xrays.checked() if nodes is None else nodes
        obstacle = foreign(self._xrays, chosen)
        if obstacle:
            return obstacle
        if not self._xrays.nodes():
            return _("Add an X-ray.")
        if not chosen:
            return _("Check the X-rays that are to be registered.")
        if all(nodes_of(node) is None for node in chosen):
            return _("Enter the geometry of the X-rays.")
        p = self._context.parameters
        if not (p.useBank or p.useNetwork or p.useHeader or p.usePreset or p.useCurrent):
            return _("Choose at least one kind of start.")
        angles = p.useHeader and any(self._xrays.header_pose(node) is not None for node in chosen)
        if not (p.useBank or p.usePreset or p.useCurrent or angles or (p.useNetwork and self._model.network)):
            return _("None of the chosen kinds of start is there; choose the bank as well.")
        return ""

    def to_refine(self, node: Any) -> str:
        """Why an X-ray cannot be refined from where it is; `node` is None where none is chosen."""
        obstacle = self.unready()
        if obstacle:
            return obstacle
        if node is None:
            return _("Choose an X-ray of the table.")
        return foreign(self._xrays, [node]) or (
            "" if nodes_of(node) is not None else _("Enter the geometry of the X-ray.")
        )


def foreign(xrays: Xrays, nodes: Sequence[Any]) -> str:
    """Why these image nodes are not the present volume's to work with; empty if they are."""
    mine = xrays.nodes()
    names = [name_of(node) or node.GetName() for node in nodes if node not in mine]
    return _("Not an X-ray of this CT: {names}.").format(names=", ".join(names)) if names else ""
