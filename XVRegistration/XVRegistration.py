"""The XVRegistration module of 3D Slicer: the panel that registers an X-ray with a model trained for the patient."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("XVRegistrationLib") is None:  # run from the source tree, where it lies beside this folder
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from XVRegistrationLib.panel import logic, reload
from XVRegistrationLib.panel.panel import Panel


class XVRegistration(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("X-ray to Volume Registration")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["XVRegistration contributors"]
        parent.helpText = _(
            "Finds the pose of the C-arm of an X-ray in the space of a CT, with a small network that was trained for the "
            "patient. For research, not for clinical use."
        )
        parent.acknowledgementText = _("Built on PyTorch, NVIDIA Warp and timm.")


@parameterNodeWrapper
class XVRegistrationParameterNode:
    """What the user chose; saved in the scene. Lengths in mm; geometryOf is the ID of the X-ray that they are of."""

    xray: vtkMRMLScalarVolumeNode
    volume: vtkMRMLScalarVolumeNode
    modelFolder: str
    sdd: Annotated[float, WithinRange(100.0, 5000.0)] = 1000.0
    columnSpacing: Annotated[float, WithinRange(0.01, 10.0)] = 1.0
    rowSpacing: Annotated[float, WithinRange(0.01, 10.0)] = 1.0
    mirrored: bool = False
    denseIsBright: bool = True
    geometryOf: str
    outputName: str


class XVRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The life of the panel in Slicer; what it shows and does is in XVRegistrationLib.panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/XVRegistration.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = XVRegistrationLogic()
        self.panel = Panel(self.ui)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.setParameterNode(self.logic.getParameterNode())

    def cleanup(self) -> None:
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        self.setParameterNode(self.logic.getParameterNode())
        self.panel.show_dependencies()

    def exit(self) -> None:
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None) -> None:
        if self.parent.isEntered:
            self.setParameterNode(self.logic.getParameterNode())

    def onReload(self) -> None:
        reload.forget_library()
        ScriptedLoadableModuleWidget.onReload(self)

    def setParameterNode(self, parameterNode) -> None:
        """Show and observe this parameter node instead of the last; with None, none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None) -> None:
        self.panel.show(self._parameterNode)


class XVRegistrationLogic(ScriptedLoadableModuleLogic):
    """What the panel does, for scripts: `XVRegistrationLogic().registerNode(xrayNode, "/path/to/model")`."""

    def getParameterNode(self):
        return XVRegistrationParameterNode(super().getParameterNode())

    def registerNode(self, xrayNode, modelFolder, volumeNode=None, **options):
        """Register the X-ray of a node and show the result; see XVRegistrationLib.panel.logic.register_node."""
        return logic.register_node(xrayNode, modelFolder, volumeNode, **options)


class XVRegistrationTest(ScriptedLoadableModuleTest):
    """What can be checked in any Slicer: that the panel opens and says what it needs."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_panel_says_what_it_needs()

    def test_panel_says_what_it_needs(self) -> None:
        """An empty scene leaves the button disabled with the reason; a volume is refused as an X-ray."""
        ui = slicer.util.getModuleWidget("XVRegistration").ui
        assert not ui.applyButton.enabled
        assert ui.applyButton.toolTip
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        ui.xraySelector.setCurrentNode(volume)
        assert not ui.applyButton.enabled
        assert "CT" in ui.applyButton.toolTip
