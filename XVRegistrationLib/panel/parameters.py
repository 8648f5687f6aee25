"""What the user chose, where there is no parameter node: in scripts and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Parameters:
    """The fields of the module's parameter node, by the same names."""

    volume: Any = None
    """vtkMRMLScalarVolumeNode of the CT."""
    volumeValues: str = "ct"  # noqa: N815
    """What the volume's values are, of `volume_values.KINDS`."""
    vesselsLow: float = 0.0  # noqa: N815
    """Of an angiogram: the highest value of what is no vessel; with 0 in both, a usual window is put in."""
    vesselsHigh: float = 0.0  # noqa: N815
    """The lowest value of a vessel full of contrast agent."""
    useNotScanned: bool = False  # noqa: N815
    """Whether `notScanned` is said."""
    notScanned: float = 0.0  # noqa: N815
    """Value of voxels that were not scanned, or were cut away: they are air."""
    densities: str = ""
    """HU of the segmentation's structures by their names, as JSON, in place of the table that comes along."""
    segmentation: Any = None
    """vtkMRMLSegmentationNode of the CT, or None."""
    targets: Any = None
    """vtkMRMLMarkupsFiducialNode, or None."""
    preset: str = "thorax-ap"
    minutes: float = 5.0
    device: str = ""
    """"cpu", "cuda" or "" for the best there is."""
    network: str = "default"
    """What a model without a network trains, as `networks.settings.network_named` has it."""
    modelFolder: str = ""  # noqa: N815 - as in the parameter node
    useBank: bool = True  # noqa: N815
    useNetwork: bool = True  # noqa: N815
    useHeader: bool = True  # noqa: N815
    usePreset: bool = False  # noqa: N815
    useCurrent: bool = False  # noqa: N815
    relation: str = ""
    """How the relation of X-rays that are registered together is known, of `joint_relations.RELATIONS`; "": as is possible."""
    estimateGeometry: bool = False  # noqa: N815
    """Whether registering together also estimates distance and principal point."""
    xray: Any = None
    """vtkMRMLScalarVolumeNode of the X-ray that is shown."""
    biplane: bool = False
    """Whether two X-rays are shown side by side."""
    secondXray: Any = None  # noqa: N815
    """vtkMRMLScalarVolumeNode of the X-ray beside it; None for the other plane of its pair, if it has one."""
    comparison: str = "blend"
    """How X-ray and DRR are compared, of `comparing.WAYS`."""
    blend: float = 0.5
    showLabels: bool = False  # noqa: N815
    showOutlines: bool = True  # noqa: N815
    hiddenStructures: str = ""  # noqa: N815
    """Names of the segments that are not drawn on X-rays, as JSON."""
    showTargets: bool = True  # noqa: N815
    linkCursors: bool = False  # noqa: N815
    liveDrr: bool = True  # noqa: N815
