"""How the pose changes over the frames of a run: a chart of six curves, the verdicts as marks, and the frame that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.detector_motion import AXES, motion_between
from XVRegistrationLib.registration.looks import VERDICT_LOOKS
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.charts import CIRCLES, CROSSES, DIAMONDS, Curve, new_chart, set_curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.scene.run_results import FrameResult

_AXES = (
    ("right (mm)", (0.0, 0.45, 0.70)),
    ("down (mm)", (0.90, 0.60, 0.0)),
    ("depth (mm)", (0.0, 0.62, 0.45)),
    ("tilt (degrees)", (0.80, 0.47, 0.65)),
    ("swing (degrees)", (0.34, 0.71, 0.91)),
    ("turn (degrees)", (0.84, 0.37, 0.0)),
)
"""In the order of `detector_motion.AXES`; colours that are told apart by the colour-blind (Okabe and Ito)."""
_STYLES = {"circle": CIRCLES, "diamond": DIAMONDS, "cross": CROSSES}
_SHOWN = (0.45, 0.45, 0.45)


def color_of_axis(axis: str) -> str:
    """The colour (#rrggbb) of the curve of one of `detector_motion.AXES`."""
    red, green, blue = _AXES[AXES.index(axis)][1]
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def motions_of(frames: Sequence[FrameResult], pivot: ArrayLike, mirrored: bool) -> NDArray[np.float64]:
    """(n, 6) how far what is seen moved since the first registered frame, as `motion_between`; not a number where not registered."""
    motions = np.full((len(frames), 6), np.nan)
    first = next((frame for frame in frames if frame.registered), None)
    if first is not None:
        for row, frame in zip(motions, frames, strict=True):
            if frame.registered:
                row[:] = motion_between(first.pose, frame.pose, pivot, mirrored)
    return motions


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
    motions = motions_of(frames, pivot, read_intrinsics(node).mirrored)
    numbers = np.array([frame.item for frame in frames], dtype=np.float64)
    known = np.isfinite(motions).all(axis=1)
    curves = [
        Curve(name, ("frame", name), color, numbers[known], motions[known, axis])
        for axis, (name, color) in enumerate(_AXES)
    ]
    low, high = (float(extreme(motions[known], initial=0.0)) for extreme in (np.min, np.max))
    low -= 0.1 * max(high - low, 1.0)  # marks lie below the curves
    for verdict, look in VERDICT_LOOKS.items():
        items = np.array([frame.item for frame in frames if frame.verdict == verdict], dtype=np.float64)
        curves.append(
            Curve(verdict, ("frame", verdict), look.rgb, items, np.full(len(items), low), _STYLES[look.shape])
        )
    line = np.full(2, float(shown))
    curves.append(Curve("shown", ("frame", "shown"), _SHOWN, line, np.array([low, max(high, low + 1.0)])))
    set_curves(scene, chart, curves)
    return chart
