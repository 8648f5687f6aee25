"""What the module does as Slicer starts, before anyone opens it."""

from __future__ import annotations

import slicer

from XVRegistrationLib.panel import sample_data
from XVRegistrationLib.scene import dicom_plugin
from XVRegistrationLib.scene.layout import add_layouts


def on_module_found() -> None:
    """Register the plugin of the DICOM module, which shows those that are there when it is opened first; wait for the rest."""
    dicom_plugin.register()
    slicer.app.connect("startupCompleted()", on_startup_completed)


def on_startup_completed() -> None:
    """Offer the sample data; make the arrangements of views known, so that a scene saved in one has views at once."""
    sample_data.register()
    if slicer.app.layoutManager() is not None:  # None without a main window
        add_layouts(slicer.app.layoutManager().layoutLogic().GetLayoutNode())
