"""What the panel shows and what its buttons do. The module's widget owns it and tells it of every change."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from XVRegistrationLib.panel import dependencies, logic
from XVRegistrationLib.panel.i18n import tr as _


class Panel:
    """The behaviour of the widgets in XVRegistration.ui that are not simply bound to the parameter node."""

    def __init__(self, ui: Any) -> None:
        """`ui` has the widgets as attributes, by their names."""
        self.ui = ui
        self._parameters: Any = None
        self._missing: list[str] = []
        ui.installButton.clicked.connect(self.on_install)
        ui.applyButton.clicked.connect(self.on_apply)
        ui.modelPathLineEdit.currentPathChanged.connect(self.on_model_folder)
        self.show_dependencies()

    def show(self, parameters: Any) -> None:
        """Bring the widgets in line with the parameter node, or with its absence."""
        self._parameters = parameters
        if parameters is None:
            return
        # A path is not bound by name: Slicer binds it as a pathlib.Path, which turns "not chosen" into ".".
        if self.ui.modelPathLineEdit.currentPath != parameters.modelFolder:
            self.ui.modelPathLineEdit.currentPath = parameters.modelFolder
        self._show_geometry()
        self._show_obstacle()

    def show_dependencies(self) -> None:
        """Look for the packages and say which are missing."""
        self._missing = dependencies.missing()
        self.ui.setupCollapsibleButton.collapsed = not self._missing
        self.ui.installButton.setVisible(bool(self._missing))
        self.ui.dependenciesLabel.setText(
            _("Not installed yet: {packages}").format(packages=", ".join(self._missing))
            if self._missing
            else _("Everything that is needed is installed.")
        )
        if self._parameters is not None:
            self._show_obstacle()

    def on_install(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The installation failed.")):
            dependencies.install()
        self.show_dependencies()

    def on_model_folder(self, path: str) -> None:
        if self._parameters is not None:
            self._parameters.modelFolder = path

    def on_apply(self, checked: bool = False) -> None:
        parameters = self._parameters
        self.show_progress("")
        with slicer.util.tryWithErrorDisplay(_("The X-ray could not be registered."), waitCursor=True):
            registration, nodes = logic.register_node(
                parameters.xray,
                parameters.modelFolder,
                parameters.volume,
                geometry=_read_geometry(parameters),
                name=parameters.outputName,
                progress=self.show_progress,
            )
            self.show_progress(
                _("{name} was registered in {seconds} s; similarity {similarity}.").format(
                    name=nodes.name, seconds=f"{registration.seconds:.1f}", similarity=f"{registration.similarity:.3f}"
                )
            )

    def show_progress(self, text: str) -> None:
        """Show a sentence now, although the button's work goes on."""
        self.ui.statusLabel.setText(text)
        slicer.app.processEvents()

    def _show_obstacle(self) -> None:
        obstacle = logic.obstacle(self._parameters.xray, self._parameters.modelFolder)
        if not obstacle and self._missing:
            obstacle = _("Install the missing packages first.")
        self.ui.applyButton.setEnabled(not obstacle)
        self.ui.applyButton.setToolTip(obstacle or _("Find the pose of the X-ray and show it in the scene."))

    def _show_geometry(self) -> None:
        """Another X-ray brings its geometry, or its spacing as a first guess and the request to complete it."""
        parameters = self._parameters
        xray = parameters.xray
        stored = logic.stored_geometry(xray)
        xray_id = xray.GetID() if xray is not None else ""
        # Which X-ray the values are of is kept with them: what the user entered survives saving and reloading.
        if xray is not None and parameters.geometryOf != xray_id:
            parameters.geometryOf = xray_id
            _write_geometry(parameters, stored or logic.guessed_geometry(xray))
        for widget in (
            self.ui.sddSpinBox,
            self.ui.columnSpacingSpinBox,
            self.ui.rowSpacingSpinBox,
            self.ui.mirroredCheckBox,
            self.ui.denseIsBrightCheckBox,
        ):
            widget.setEnabled(xray is not None and stored is None)
        if xray is None:
            text = _("Select an X-ray.")
        elif stored is not None:
            text = _("Read from the X-ray.")
        else:
            text = _(
                "The image does not say how it was taken. Enter the distance and check the spacing on the detector."
            )
        self.ui.geometryLabel.setText(text)


def _read_geometry(parameters: Any) -> logic.Geometry:
    return logic.Geometry(
        parameters.sdd, parameters.columnSpacing, parameters.rowSpacing, parameters.mirrored, parameters.denseIsBright
    )


def _write_geometry(parameters: Any, geometry: logic.Geometry) -> None:
    was_modifying = parameters.StartModify()
    parameters.sdd = geometry.sdd
    parameters.columnSpacing = geometry.column_spacing
    parameters.rowSpacing = geometry.row_spacing
    parameters.mirrored = geometry.mirrored
    parameters.denseIsBright = geometry.dense_is_bright
    parameters.EndModify(was_modifying)
