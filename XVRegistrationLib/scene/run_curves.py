"""How the pose changes over the frames of a run: a chart of six curves, the verdicts as marks, and the frame that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.run_curves import AXIS_COLORS, VERDICT_COLORS
from XVRegistrationLib.geometry.detector_motion import AXES, motions_since_first
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.charts import CIRCLES, CROSSES, DIAMONDS, Curve, new_chart, set_curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from XVRegistrationLib.scene.run_results import FrameResult

_TITLES = ("right (mm)", "down (mm)", "depth (mm)", "tilt (degrees)", "swing (degrees)", "turn (degrees)")
"""In the order of `detector_motion.AXES`."""
_STYLES = {"converged": CIRCLES, "check": DIAMONDS, "failed": CROSSES}
_SHOWN = (0.45, 0.45, 0.45)


def color_of_axis(axis: str) -> str:
    """The colour (#rrggbb) of the curve of one of `detector_motion.AXES`."""
    red, green, blue = AXIS_COLORS[AXES.index(axis)]
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def set_pose_curves(
    scene: Any, chart: Any, node: Any, frames: Sequence[FrameResult], shown: int, pivot: ArrayLike
) -> Any:
    """Draw the poses of a run's frames about a point `pivot`, RAS mm; return the chart, a new one for None.

    It is not saved with the scene: it is made anew from the frames.
    """
    if chart is None or chart.GetScene() is not scene:
        chart = new_chart(scene, "Poses of the frames", "", "frame", "mm, degrees")
        chart.SetSaveWithScene(False)
        chart.SetHideFromEditors(True)
        chart.SetLegendVisibility(False)
        chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(-0.5, len(frames) - 0.5)
    poses = [frame.pose if frame.registered else None for frame in frames]
    motions = motions_since_first(poses, pivot, read_intrinsics(node).mirrored)
    numbers = np.array([frame.item for frame in frames], dtype=np.float64)
    known = np.isfinite(motions).all(axis=1)
    curves = [
        Curve(name, ("frame", name), color, numbers[known], motions[known, axis])
        for axis, (name, color) in enumerate(zip(_TITLES, AXIS_COLORS, strict=True))
    ]
    low, high = (float(extreme(motions[known], initial=0.0)) for extreme in (np.min, np.max))
    low -= 0.1 * max(high - low, 1.0)  # marks lie below the curves
    for verdict, style in _STYLES.items():
        items = np.array([frame.item for frame in frames if frame.verdict == verdict], dtype=np.float64)
        curves.append(
            Curve(verdict, ("frame", verdict), VERDICT_COLORS[verdict], items, np.full(len(items), low), style)
        )
    line = np.full(2, float(shown))
    curves.append(Curve("shown", ("frame", "shown"), _SHOWN, line, np.array([low, max(high, low + 1.0)])))
    set_curves(scene, chart, curves)
    return chart
