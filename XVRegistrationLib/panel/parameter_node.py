"""The parameter node of the module: what the user chose, saved in the scene."""

from typing import Annotated

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class XVRegistrationParameterNode:
    """The fields of `panel.parameters.Parameters`, as Slicer keeps and binds them."""

    volume: vtkMRMLScalarVolumeNode
    volumeValues: str = "ct"
    vesselsLow: float = 0.0
    vesselsHigh: float = 0.0
    useNotScanned: bool = False
    notScanned: float = 0.0
    densities: str = ""
    segmentation: vtkMRMLSegmentationNode
    targets: vtkMRMLMarkupsFiducialNode
    preset: str = "thorax-ap"
    minutes: Annotated[float, WithinRange(0.1, 2880.0)] = 5.0
    device: str = ""
    network: str = "default"
    modelFolder: str = ""
    useBank: bool = True
    useNetwork: bool = True
    useHeader: bool = True
    usePreset: bool = False
    useCurrent: bool = False
    relation: str = ""
    estimateGeometry: bool = False
    xray: vtkMRMLScalarVolumeNode
    biplane: bool = False
    secondXray: vtkMRMLScalarVolumeNode
    comparison: str = "blend"
    blend: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showLabels: bool = False
    showOutlines: bool = True
    hiddenStructures: str = ""
    showTargets: bool = True
    linkCursors: bool = False
    liveDrr: bool = True
