"""Reviews of X-rays, kept on their image nodes and so in the scene: each frame of a run has its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.review import Review, review_of
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from XVRegistrationLib.registration.result import Registration

_REVIEW = PREFIX + "Review"
_SAME = 1e-3
"""A pose whose entries differ by more, mm for the position, is another one than was reviewed."""


@dataclass(frozen=True)
class KeptReview:
    """The review of an X-ray as it holds now."""

    review: Review
    outdated: bool = False
    """Whether the X-ray was decided on at another pose: it is open again, with its note."""


def write_review(node: Any, review: Review) -> None:
    """Keep a review on an X-ray's image node, for the pose that is registered now.

    Raises InputError for accepting an X-ray that is not registered where it stands.
    """
    found = registration_that_holds(node)
    if review.decision == "accepted" and found is None:
        raise InputError(f"{name_of(node)} is not registered where it stands; register it before it is accepted.")
    if review == Review():
        node.SetAttribute(_REVIEW, None)
        return
    pose = None if found is None else found.pose.tolist()
    node.SetAttribute(_REVIEW, json.dumps({**review.to_dict(), "pose": pose}))


def read_review(node: Any) -> KeptReview:
    """The review of an X-ray by its image node; an open one where there is none, as in scenes of earlier versions.

    A decision holds for the pose that it was made on, and no other.
    """
    return review_at(node, registration_that_holds(node))


def review_at(node: Any, found: Registration | None) -> KeptReview:
    """The review of an image or a frame by its node, where this registration, or None, is the one that holds now."""
    text = node.GetAttribute(_REVIEW)
    try:
        kept = json.loads(text) if text else {}
    except ValueError:
        kept = {}
    review = review_of(kept)
    if review.decision == "open" or _same_pose(found, kept.get("pose")):
        return KeptReview(review)
    return KeptReview(Review("open", review.note), outdated=True)


def _same_pose(found: Registration | None, reviewed: Any) -> bool:
    """Whether the pose that was reviewed, or None for none, is the one that is registered now."""
    if found is None or reviewed is None:
        return found is None and reviewed is None
    try:
        return bool(np.allclose(found.pose, np.array(reviewed, dtype=np.float64), atol=_SAME))
    except (TypeError, ValueError):
        return False
