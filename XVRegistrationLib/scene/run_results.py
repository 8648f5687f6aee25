"""What is known of each frame of a run, also of those that are not shown: pose, verdict and review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.scene.results import frame_registration
from XVRegistrationLib.scene.reviews import review_at
from XVRegistrationLib.scene.runs import frame_nodes, item_of, poses_of, run_of
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.registration.review import Review


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame as it is now."""

    item: int
    """Counted from 0."""
    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm: where it stands."""
    registration: Registration | None
    """The one that was found there; None if there is none."""
    kept: Review
    """What was decided on it, and the note."""

    @property
    def registered(self) -> bool:
        """Whether it was registered where it stands."""
        return self.registration is not None

    @property
    def verdict(self) -> str:
        """Of that registration: "converged", "check", "failed" or, without one, empty."""
        return "" if self.registration is None else self.registration.verdict

    @property
    def review(self) -> str:
        """ "open", "accepted" or "rejected"."""
        return self.kept.decision


def frame_results(node: Any) -> list[FrameResult]:
    """Each frame of a run, or the one image of an X-ray; empty while it has no pose."""
    if nodes_of(node) is None:
        return []
    frames, shown = frame_nodes(node), item_of(node)
    try:
        now = pose_from_node(node)
        # Where somebody removed the sequence of poses, all frames stand where the shown one does.
        poses = poses_of(node) or [now] * len(frames)
    except InputError:  # under a transform that is not rigid
        return []
    poses[shown] = now
    found = []
    for item, (frame, pose) in enumerate(zip(frames, poses, strict=True)):
        registration = frame_registration(frame, pose, node)
        found.append(FrameResult(item, pose, registration, review_at(frame, registration).review))
    return found


def stamp_of(node: Any) -> tuple[int, ...]:
    """Something that changes with any of `frame_results`, and costs next to nothing."""
    run, pose = run_of(node), node.GetParentTransformNode()
    mine = (item_of(node), node.GetMTime(), 0 if pose is None else pose.GetTransformToWorldMTime())
    if run is None:
        return mine
    items = [run.images, *([] if run.poses is None else [run.poses])]
    latest = max(items_of.GetNthDataNode(i).GetMTime() for items_of in items for i in range(run.count))
    return (*mine, latest, *(one.GetMTime() for one in items))
