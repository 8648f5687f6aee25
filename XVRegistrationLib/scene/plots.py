"""The curve of a training as Slicer's table, plot series and chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.charts import Curve, new_chart, remove_chart, set_curves

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHART_REFERENCE = PREFIX + "TrainingChart"


def set_training_curve(scene: Any, volume_node: Any, rows: Iterable[tuple[float, float, float | None]]) -> Any:
    """Draw a training's curve (seconds, loss, validation error or None; mm) for a CT; return its vtkMRMLPlotChartNode.

    There is one chart for a volume node, with two series and their tables; they are updated in place.
    """
    data = np.array([(s, loss, np.nan if v is None else v) for s, loss, v in rows], dtype=np.float64).reshape(-1, 3)
    minutes, validated = data[:, 0] / 60, np.isfinite(data[:, 2])
    chart = volume_node.GetNodeReference(_CHART_REFERENCE)
    if chart is None:
        chart = new_chart(scene, f"Training ({volume_node.GetName()})", "Training", "minutes", "mm")
        volume_node.SetNodeReferenceID(_CHART_REFERENCE, chart.GetID())
    loss = Curve("loss", ("minutes", "loss (mm)"), (0.55, 0.6, 0.65), minutes, data[:, 1])
    columns = ("minutes", "validation error (mm)")
    error = Curve("validation error", columns, (0.95, 0.5, 0.1), minutes[validated], data[validated, 2])
    set_curves(scene, chart, (loss, error))
    return chart


def training_chart_of(volume_node: Any) -> Any:
    """The chart that `set_training_curve` made for a volume node; None if there is none."""
    return volume_node.GetNodeReference(_CHART_REFERENCE)


def remove_training_curve(scene: Any, volume_node: Any) -> None:
    """Remove a volume's chart with its series and tables."""
    remove_chart(scene, training_chart_of(volume_node))
