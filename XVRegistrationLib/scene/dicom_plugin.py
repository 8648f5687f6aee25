"""The plugin by which Slicer's DICOM module offers X-rays with their C-arm geometry.

It is made when the module registers it and not when this file is imported: its base class is Slicer's.
"""

from __future__ import annotations

from typing import Any

import slicer

from XVRegistrationLib.errors import InputError

NAME = "XVRegistrationXrayPlugin"
_SOP_CLASS = "0008,0016"


def register() -> bool:
    """Add the plugin to those of Slicer's DICOM module; False in a Slicer without DICOM."""
    try:
        plugin = _plugin_class()
    except ImportError:
        return False
    # The DICOM module makes this table unless a plugin came first.
    if not hasattr(slicer.modules, "dicomPlugins"):
        slicer.modules.dicomPlugins = {}
    slicer.modules.dicomPlugins[NAME] = plugin
    return True


def _plugin_class() -> type:
    from DICOMLib import DICOMLoadable, DICOMPlugin

    class XVRegistrationXrayPlugin(DICOMPlugin):
        """Loads X-rays under their C-arm pose, runs as sequences, the planes of a biplane system together."""

        def __init__(self) -> None:
            super().__init__()
            self.loadType = "X-ray with C-arm geometry"

        def examineForImport(self, fileLists: list[list[str]]) -> list[Any]:  # noqa: N802
            """What of all these files can be loaded: the two planes of a system may be in different series."""
            from XVRegistrationLib.scene.dicom_import import offers

            files = [file for files in fileLists for file in files]
            loadables = []
            for offer in offers(files, _sop_classes(files)):
                loadable = DICOMLoadable()
                loadable.files = list(offer.files)
                loadable.name = offer.name
                loadable.tooltip = offer.tooltip
                loadable.warning = offer.warning
                loadable.selected = True
                loadable.confidence = offer.confidence
                loadables.append(loadable)
            return loadables

        def load(self, loadable: Any) -> Any:
            """Add an X-ray to the scene; its image node, or False with the reason in the log."""
            import logging

            from XVRegistrationLib.scene.dicom_import import load, offers

            try:
                # Made anew from the files: Slicer hands back its own kind of loadable, with these alone.
                nodes = [node for offer in offers(loadable.files) for node in load(slicer.mrmlScene, offer)]
            except InputError as e:
                logging.error(str(e))
                return False
            return nodes[0] if nodes else False

    return XVRegistrationXrayPlugin


def _sop_classes(files: list[str]) -> dict[str, str]:
    """SOP class UIDs of files as the DICOM database keeps them."""
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return {}
    return {file: database.fileValue(file, _SOP_CLASS) for file in files}
