"""What the panel shows, as plain values: a widget draws them, a script prints them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.scene.xray_source import XraySource

CONVERGED, CHECK, FAILED, WORKING, UNKNOWN = "converged", "check", "failed", "working", "unknown"
"""Looks of outcomes: as a verdict's, being worked on, nothing known. Never shown without words."""


@dataclass(frozen=True, eq=False)
class PatientView:
    """What was understood of the chosen volume."""

    name: str = ""
    kind: str = ""
    """"CT", ... or "" while nothing is known."""
    size_text: str = ""
    """Field of view and voxel size in words, mm."""
    check: str = ""
    """What the look at the voxel values found, a sentence."""
    ok: bool = False
    """Whether X-rays can be registered to this volume."""
    problem: str = ""
    """Why not, or what is to be chosen, a sentence; empty if nothing is wrong."""
    asks: bool = False
    """Whether the user has to say what the voxel values are."""
    image: NDArray[Any] | None = None
    """(h, w) uint8: the nominal view rendered, bone bright."""
    markers: dict[str, str] = field(default_factory=dict)
    """Side of `image` ("left", "right", "top", "bottom") -> R, L, A, P, H or F."""


@dataclass(frozen=True)
class ModelView:
    """The model of the patient and preset."""

    state: str = "none"
    """"none", "preparing" (bank), "bank" (ready without a network), "training", "network" (ready) or "failed"."""
    text: str = ""
    """The state in a sentence."""
    fraction: float | None = None
    """Share of the work that is done, 0 to 1; None while nothing is being done."""
    eta: float | None = None
    """Seconds that the work will still take; None if that is not known."""
    folder: str = ""
    ready: bool = False
    """Whether X-rays can be registered with it, also while it is being trained."""
    network: bool = False
    """Whether a network is loaded."""
    trained_minutes: float = 0.0
    job: str = ""
    """ID of the training job that is watched, or ""."""
    job_state: str = ""
    """"starting", "running", "done", "cancelled", "failed" or "interrupted"; "" without a job."""
    error_mm: float | None = None
    """Last validation error of the network, mm; None if there is none."""


@dataclass(frozen=True)
class LibraryRow:
    """A model of the library."""

    folder: Path
    title: str
    """Name for a list, without the patient's: view, training and date."""
    fits: bool
    """Whether it was made for the chosen volume."""
    current: bool
    """Whether it is the one in use."""


@dataclass(frozen=True, eq=False)
class XrayRow:
    """An X-ray in the table."""

    node_id: str
    node: Any
    """vtkMRMLScalarVolumeNode of one slice."""
    name: str
    checked: bool
    """Whether "Register" takes it."""
    current: bool
    """Whether it is the one that the X-ray view shows."""
    state: str
    """"incomplete", "ready", "queued", "registering", "registered" or "failed"."""
    outcome: str
    """The state in words, with the similarity where there is one."""
    look: str
    """"converged", "check", "failed", "working" or "unknown"."""
    hint: str
    """What the outcome means, for a tooltip."""
    geometry: str
    """Distance, spacing and size in words."""
    values: dict[str, Any]
    """What is known: sdd (mm), spacing ((dx, dy) mm), principal_point (px), mirrored, dense_is_bright, primary_angle,
    secondary_angle (degrees), sod (mm)."""
    origins: dict[str, str]
    """Name in `values` -> "tag", "derived", "assumed", "estimated" or "user"."""
    missing: tuple[str, ...]
    """Names that the user has to give ("sdd", "spacing")."""
    notes: tuple[str, ...]
    """What was derived, ignored or contradicts something else in the file, in sentences."""
    thumbnail: NDArray[Any] | None
    """(h, w) uint8 as displayed."""
    source: XraySource | None = None
    """What of its file it is; None for an image of the scene."""
    item: int = 0
    """Which item of a run is shown, counted from 0."""
    count: int = 1
    """Number of items."""
    ignored: int = 0
    """Number of rectangles on it that do not count."""
    review: str = "open"
    """"open", "accepted" or "rejected"."""
    note: str = ""
    """What the user noted with it."""
    review_outdated: bool = False
    """Whether it was decided on at another pose, and so is open again."""


@dataclass(frozen=True, eq=False)
class StepsView:
    """What is done to an X-ray before it is compared."""

    name: str
    images: tuple[tuple[str, NDArray[Any]], ...]
    """Title, and (h, w) or (h, w, 3) uint8."""
    left_out: tuple[tuple[str, str, float], ...]
    """Reason, colour (#rrggbb) and share (0 to 1) of what does not count in the last image."""
    aspect: float
    """Height of a pixel divided by its width."""
    letters: dict[str, str]
    """Side of the images -> the patient's, where the file says it."""


@dataclass(frozen=True)
class AdjustView:
    """How far the C-arm of the current X-ray has been moved."""

    motion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """As `geometry.detector_motion` has it: mm to the right, down and towards the detector, and three turns in degrees."""
    registered: bool = False
    """Whether they are counted from where it was registered, and not from where it was put at first."""


@dataclass(frozen=True)
class LandmarkRow:
    """A landmark in the table."""

    name: str
    point: tuple[float, float, float] | None
    """In the CT, RAS mm; None until it is marked there."""
    pixel: tuple[float, float] | None
    """On the current X-ray, of a run on the frame that is shown, stored (column, row); None until it is marked there."""
    miss_px: float | None
    """How far from its mark the landmark falls at the present pose, px; None where that cannot be said."""
    miss_mm: float | None
    """The same, mm on the detector."""
    note: str
    """What is missing, or that the last fit left it out as wrong."""
    frame: int | None = None
    """Of a run the frame that is shown, and that the mark is on, counted from 0."""


@dataclass(frozen=True)
class TargetRow:
    """A target in the table, on the current X-ray."""

    name: str
    point: tuple[float, float, float] | None
    """RAS mm; None until it is put somewhere."""
    pixel: tuple[float, float] | None = None
    """Stored (column, row); None where that is not known."""
    in_plane_mm: float | None = None
    """Half of its 95 % interval parallel to the detector, in the worst direction; None where that is not known."""
    depth_mm: float | None = None
    """Half of its 95 % interval along the beam; None where that is not known."""
    on_image: bool = False
    note: str = ""
    """What is not known of it and why, a sentence."""


@dataclass(frozen=True)
class Pick:
    """What is picked on an X-ray."""

    name: str
    """Of the X-ray."""
    pixel: tuple[float, float]
    """Stored (column, row)."""
    residual_px: float | None = None
    """How far from it the point found falls; None without one."""
    distance_mm: float | None = None
    """How far the point found is from its ray."""


@dataclass(frozen=True)
class PickedView:
    """A thing picked on X-rays."""

    picks: tuple[Pick, ...] = ()
    point: tuple[float, float, float] | None = None
    """Where it is, RAS mm; None until it is picked on two X-rays from different sides."""
    problem: str = ""
    """Why it was not found, or why it may be wrong, a sentence."""


@dataclass(frozen=True)
class StructureRow:
    """A structure of the CT's segmentation."""

    name: str
    color: tuple[float, float, float]
    shown: bool
    """Whether it is drawn on the X-rays."""


@dataclass(frozen=True)
class ComparisonChoice:
    """A way of comparing an X-ray and its DRR."""

    name: str
    title: str
    purpose: str
    """What it shows, a sentence."""
    obstacle: str
    """Why it cannot be chosen; empty if it can."""


@dataclass(frozen=True)
class WindowView:
    """Which values of an image are black and white."""

    window: float
    level: float
    step: float
    """By which a user changes them."""


@dataclass(frozen=True)
class RelationChoice:
    """A way to know how the cameras of several X-rays stand to each other."""

    name: str
    title: str
    purpose: str
    """What it rests on, a sentence."""
    obstacle: str
    """Why it is not possible; empty if it is."""


@dataclass(frozen=True)
class RunView:
    """What came of the frames of the run that is shown."""

    name: str
    item: int
    """Which frame is shown, counted from 0."""
    count: int
    """Number of frames."""
    converged: int
    """Of those that are registered where they stand, how many have this verdict; and so on."""
    check: int
    failed: int
    accepted: int
    rejected: int
