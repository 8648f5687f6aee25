"""What a session does with the current X-ray: showing it, comparing it with its DRR, and moving its C-arm by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.session_xrays import XraySession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.panel.views import AdjustView, ComparisonChoice, LandmarkRow, RunView, WindowView


class ViewingSession(XraySession):
    """The current X-ray of a session."""

    # 5 See it

    def show(self, node: Any) -> None:
        """Make an X-ray the current one: the one whose DRR follows its pose, and that the X-ray view shows."""
        self._viewing.show(node)

    def attach_view(self, slice_node: Any, composite_node: Any) -> None:
        """Show the current X-ray in this slice view from now on; with None, None, in no view."""
        self._viewing.view.attach(slice_node, composite_node)

    def show_beside(self, node: Any) -> None:
        """Show another X-ray beside the current one."""
        self._second.choose(node)

    @property
    def beside(self) -> Any:
        """Image node of the X-ray beside the current one; None unless the parameter `biplane` is set and there is another."""
        return self._second.node

    def attach_second_view(self, slice_node: Any, composite_node: Any) -> None:
        """Show the X-ray beside the current one in this slice view from now on; with None, None, in no view."""
        self._second.view.attach(slice_node, composite_node)

    def run_view(self) -> RunView | None:
        """What came of the frames of the run that is shown; None if it is a single image."""
        return self._runs.view()

    def show_next_frame(self) -> None:
        """Show the next frame of the run that is neither decided on nor converged."""
        self._runs.show_next()

    def plot_chart(self) -> Any:
        """vtkMRMLPlotChartNode to be shown: the poses of the run that is shown, else the present training's; or None."""
        chart = self._runs.chart
        return chart if chart is not None and not self.training else self._model.job.chart

    def comparisons(self) -> list[ComparisonChoice]:
        """The ways to compare X-ray and DRR, and why one cannot be chosen."""
        return self._comparing.choices()

    @property
    def comparison(self) -> str:
        """The way that is in use: the parameter `comparison`, or "blend" where that one is not possible."""
        return self._comparing.way

    def compare(self, way: str) -> None:
        """Compare in this way, by its name, from now on."""
        self._comparing.choose(way)

    def window(self, part: str) -> WindowView | None:
        """The window of the "xray" or the "drr"; None where there is none."""
        return self._comparing.window(part)

    def set_window(self, part: str, window: float, level: float) -> None:
        """Show so many values about `level` between black and white."""
        self._comparing.set_window(part, window, level)

    def usual_window(self, part: str) -> None:
        """Go back to the window that the image had at first."""
        self._comparing.usual_window(part)

    # 6 Correct it

    def adjust_view(self) -> AdjustView:
        """How far the current X-ray's C-arm has been moved from where it was registered, or put at first."""
        return self._adjusting.view()

    def nudge(self, axis: str, amount: float, *, beside: bool = False) -> None:
        """Move what the DRR shows along an axis of the detector, mm ("right", "down", "depth") or degrees ("tilt", "swing", "turn").

        That is the current X-ray's, or that of the one `beside` it.
        """
        (self._adjusting_beside if beside else self._adjusting).nudge(axis, amount)

    def set_motion(self, motion: Sequence[float]) -> None:
        """Move the C-arm so that `adjust_view().motion` is this."""
        self._adjusting.set_motion(motion)

    def undo_pose(self) -> None:
        """Move the C-arm back to where it was before."""
        self._adjusting.undo()

    def redo_pose(self) -> None:
        """Take back what `undo_pose` did."""
        self._adjusting.redo()

    def reset_pose(self) -> None:
        """Move the C-arm back to where it was registered, or else put at first."""
        self._adjusting.reset()

    def copy_pose(self, node: Any = None) -> str:
        """The pose of an X-ray, else the current one, as JSON: camera -> RAS, mm, four rows."""
        return self._adjusting.copy(node)

    def paste_pose(self, text: str) -> None:
        """Move the current X-ray's C-arm to a pose in a text: JSON rows, a result's JSON, or 16 numbers."""
        self._adjusting.paste(text)

    # Landmarks

    def landmarks(self) -> list[LandmarkRow]:
        """The landmarks of the CT and the current X-ray, with how far each falls beside its mark."""
        return self._landmarking.rows()

    def mark_in_ct(self, name: str = "", point: tuple[float, float, float] | None = None) -> None:
        """Mark a landmark in the CT, RAS mm; without a point, where the user clicks next. Without a name it is a new one."""
        self._landmarking.mark_in_ct(name, point)

    def mark_in_xray(self, name: str = "", pixel: tuple[float, float] | None = None) -> None:
        """Mark a landmark on the current X-ray, of a run on the frame that is shown, stored (column, row).

        Without a pixel, where the user clicks next.
        """
        self._landmarking.mark_in_xray(name, pixel)

    def remove_landmark(self, name: str) -> None:
        """Remove a landmark from the CT and from the current X-ray, of a run from the frame that is shown."""
        self._landmarking.remove(name)

    def fit_landmarks(self) -> None:
        """Move the C-arm to where the landmarks of what is shown say it is; `refine_from_here` goes on from there."""
        self._landmarking.fit()

    # Why a button is disabled: a sentence for its tooltip, "" if it is enabled

    def can_show_beside(self) -> str:
        return self._second.can_show()

    def can_show_next_frame(self) -> str:
        return self._runs.can_show_next()

    def can_adjust(self) -> str:
        return self._adjusting.obstacle()

    def can_undo_pose(self) -> str:
        return self._adjusting.can_undo()

    def can_redo_pose(self) -> str:
        return self._adjusting.can_redo()

    def can_reset_pose(self) -> str:
        return self._adjusting.can_reset()

    def can_mark_in_ct(self) -> str:
        return self._landmarking.can_mark_in_ct()

    def can_mark_in_xray(self) -> str:
        return self._landmarking.can_mark_in_xray()

    def can_fit_landmarks(self) -> str:
        return self._landmarking.can_fit()
