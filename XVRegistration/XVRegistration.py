"""The XVRegistration module of 3D Slicer: from a CT to registered X-rays, in one panel."""

import importlib.util
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("XVRegistrationLib") is None:  # run from the source tree, where it lies beside this folder
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from XVRegistrationLib.panel import dependencies, reload, selftest, startup
from XVRegistrationLib.panel.parameter_node import XVRegistrationParameterNode
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.panel.widgets.panel import Panel


class XVRegistration(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("X-ray to Volume Registration")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["XVRegistration contributors"]
        parent.helpText = _(
            "Finds the pose of the C-arm of an X-ray in the space of a CT, with a bank of views and a small network that is "
            "trained for the patient. For research, not for clinical use."
        )
        parent.acknowledgementText = _("Built on PyTorch, NVIDIA Warp and timm.")
        startup.on_module_found()


class XVRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The life of the panel in Slicer; what it shows and does is in XVRegistrationLib.panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/XVRegistration.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = XVRegistrationLogic()
        self.panel = Panel(self.ui, self.logic.makeSession())
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.setParameterNode(self.logic.getParameterNode())
        if self.parent.isEntered:  # reloaded: Slicer does not enter it again
            self.enter()

    def cleanup(self) -> None:
        if self.panel is not None:
            self.setParameterNode(None)
            self.panel.close()
        self.removeObservers()

    def enter(self) -> None:
        self.setParameterNode(self.logic.getParameterNode())
        self.panel.enter()

    def exit(self) -> None:
        self.panel.exit()  # the parameter node stays in use: a training is still watched

    def onSceneStartClose(self, caller=None, event=None) -> None:
        self.setParameterNode(None)

    def onSceneChanged(self, caller=None, event=None) -> None:
        self.setParameterNode(self.logic.getParameterNode())  # always: scripts use the session from any module
        if self.parent.isEntered:
            self.panel.attach_views()

    def onReload(self) -> None:
        reload.forget_library()
        ScriptedLoadableModuleWidget.onReload(self)

    def setParameterNode(self, parameterNode) -> None:
        """Show and observe this parameter node instead of the last; with None, none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.show_everything)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.panel.show_everything)
        self.panel.set_parameters(parameterNode)


class XVRegistrationLogic(ScriptedLoadableModuleLogic):
    """What the panel does, for scripts: `slicer.util.getModuleLogic("XVRegistration").session`; see README."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._session, self._complete = None, False  # complete: all packages were found

    def getParameterNode(self):
        return XVRegistrationParameterNode(super().getParameterNode())

    @property
    def session(self):
        """The work on the scene (XVRegistrationLib.panel.session.Session); InputError while packages are missing."""
        if not self._complete:
            dependencies.check()
            self._complete = True
        return self.makeSession()

    def makeSession(self):
        """The session, which without the packages can only rest; the panel then tells what is missing."""
        if self._session is None:
            self._session = Session(slicer.mrmlScene, self.getParameterNode())
        return self._session


class XVRegistrationTest(ScriptedLoadableModuleTest):
    """From a phantom's CT to its registered X-ray, in any Slicer and without data; the steps are in panel/selftest.py."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("XVRegistration")  # the widgets are used as a user does: they must be seen

    def runTest(self) -> None:
        self.setUp()
        self.test_from_volume_to_registered_xray()

    def test_from_volume_to_registered_xray(self) -> None:
        missing = dependencies.missing()
        if missing:
            self.skipTest(f"Install what the module's Setup section lists: {', '.join(missing)}.")
        widget = slicer.util.getModuleWidget("XVRegistration")
        selftest.register_a_phantom(widget.ui, widget.logic, say=self.delayDisplay)
