"""What of a list of DICOM files are X-rays, and bringing them into a scene with their C-arm: what Slicer's plugin does.

Nothing that names the patient is used for the names of nodes or kept in the scene; the SOP instance UID is, as Slicer's other
plugins do, since it leads back to the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.dicom.dataset import ENHANCED, PROJECTION_CLASSES, RF, XA, numbers, positive, quiet
from XVRegistrationLib.scene.attributes import read_known
from XVRegistrationLib.scene.pairs import pair
from XVRegistrationLib.scene.placing import missing_of, place
from XVRegistrationLib.scene.runs import add_frames, share, show_controls
from XVRegistrationLib.scene.xray_source import RUN, XraySource, write_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.partial import PartialXray

STATED, NOT_STATED = 0.95, 0.9
"""How sure it is that a user wants an X-ray loaded so; Slicer's own plugins say 0.7 at most of these."""
_SOURCE = "DICOM.instanceUIDs"
_SOD = 700.0
"""From the source to where an X-ray of which nothing is known stands until a CT is chosen, mm; it is only seen, not used."""
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "Modality",
    "ImageType",
    "NumberOfFrames",
    "DistanceSourceToDetector",
    "ImagerPixelSpacing",
    "PositionerPrimaryAngle",
    "PositionerSecondaryAngle",
    "ReferencedImageSequence",
)


@dataclass(frozen=True)
class Offer:
    """An X-ray, or the two planes of a biplane system, as it could be loaded."""

    files: tuple[str, ...]
    uids: tuple[str, ...]
    """SOP instance UIDs of the files."""
    name: str
    tooltip: str
    warning: str
    confidence: float


@dataclass(frozen=True)
class _Header:
    """What is needed of a file to name it and to find its other plane."""

    file: str
    tags: Dataset

    def text(self, keyword: str) -> str:
        """An element's text, empty where there is none, or what is no value of its kind."""
        try:
            return str(self.tags.get(keyword) or "").strip()
        except (TypeError, ValueError):
            return ""

    def number(self, keyword: str) -> float | None:
        """An element's one number, None where there is none."""
        values = numbers(self.tags, keyword, 1)
        return None if values is None else values[0]

    @property
    def plane(self) -> str:
        """ "A" or "B" of a biplane system by ImageType, value 3 (PS3.3, C.8.7.1.1.1), else empty."""
        values = self.tags.get("ImageType") or []
        third = str(values[2]).upper() if not isinstance(values, str) and len(values) > 2 else ""
        return third[-1] if third in ("BIPLANE A", "BIPLANE B") else ""

    @property
    def refers_to(self) -> set[str]:
        items = self.tags.get("ReferencedImageSequence") or []
        return {str(item.get("ReferencedSOPInstanceUID") or "") for item in items}


def offers(files: Iterable[str], sop_classes: dict[str, str] | None = None) -> list[Offer]:
    """The X-rays among files (DX, CR, XA, RF and their Enhanced kind), the planes of a biplane acquisition as one.

    `sop_classes` may hold the SOP class UIDs of files as a database knows them, so that others need not be opened. Files
    that cannot be read, and all other kinds, are left out.
    """
    with quiet():
        return _offers(files, sop_classes or {})


def _offers(files: Iterable[str], known: dict[str, str]) -> list[Offer]:
    wanted = (*PROJECTION_CLASSES, *ENHANCED)
    headers = [h for h in (_header(f) for f in files if (known.get(f) or wanted[0]) in wanted) if h is not None]
    headers = [h for h in headers if h.text("SOPClassUID") in wanted]
    found: list[Offer] = []
    taken: set[str] = set()
    for header in headers:
        if header.file in taken:
            continue
        other = next((h for h in headers if h.file not in taken and _are_planes(header, h)), None)
        planes = [header] if other is None else sorted((header, other), key=lambda h: h.plane)
        taken.update(h.file for h in planes)
        found.append(_offer(planes))
    return found


def load(scene: Any, offer: Offer) -> list[Any]:
    """Add what was offered to a scene; return the image node of each plane, in the order of the files.

    An X-ray stands at the pose that its angles say, about the origin of the scene, until the panel places it about a
    volume's centre; one that lacks something of its geometry is pending. Raises InputError for a file that cannot be
    read.
    """
    from XVRegistrationLib.imaging.xray_files import can_be_subtracted, read_run

    runs = [(read_run(file), can_be_subtracted(file)) for file in offer.files]  # all are read before anything is added
    nodes: list[Any] = []
    for number, ((frames, subtractable), uid) in enumerate(zip(runs, offer.uids, strict=True)):
        name = offer.name if len(runs) == 1 else f"{offer.name} {'AB'[number]}"
        node = _add(scene, frames, name, nodes[0] if nodes else None)
        node.SetAttribute(_SOURCE, uid)
        share(node, _SOURCE)
        count = frames[0].frames
        write_source(node, XraySource(RUN if count > 1 else 0, count, subtractable=subtractable))
        nodes.append(node)
    if len(nodes) == 2:
        pair(*nodes)
    show_controls(nodes[0])
    return nodes


def _add(scene: Any, frames: Sequence[PartialXray], name: str, partner: Any) -> Any:
    node = add_frames(scene, frames, name, partner=partner)
    if not missing_of(read_known(node)):
        place(scene, node, _first_pose)
    return node


def _first_pose(node: Any) -> tuple[NDArray[np.float64], str]:
    """About the origin of the scene: as the header says, else a usual view from the front."""
    pose = header_pose(read_known(node), np.zeros(3), _SOD)
    return (NominalView("AP", (0.0, 0.0, 0.0), _SOD).pose, "preset") if pose is None else (pose, "header")


def _header(file: str) -> _Header | None:
    import pydicom

    try:
        return _Header(file, pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS)))
    # Slicer asks about every file of a folder; one that is damaged in whatever way is not an X-ray for us.
    except Exception:
        return None


def _are_planes(a: _Header, b: _Header) -> bool:
    """Whether two files are the planes of one biplane acquisition.

    The standard has them say which plane they are and refer to each other; some only share series and instance number.
    """
    if a is b or a.text("StudyInstanceUID") != b.text("StudyInstanceUID"):
        return False
    if {a.plane, b.plane} == {"A", "B"} and (
        b.text("SOPInstanceUID") in a.refers_to or a.text("SOPInstanceUID") in b.refers_to
    ):
        return True
    same = all(a.text(k) and a.text(k) == b.text(k) for k in ("SeriesInstanceUID", "InstanceNumber"))
    fluoroscopy = all(h.text("SOPClassUID") in (XA, RF, *ENHANCED) for h in (a, b))
    return same and fluoroscopy and a.plane + b.plane in ("", "AB", "BA")


def _offer(planes: Sequence[_Header]) -> Offer:
    first = planes[0]
    frames = [int(h.number("NumberOfFrames") or 1) for h in planes]
    numbered = [first.number(keyword) for keyword in ("SeriesNumber", "InstanceNumber")]
    words = [first.text("Modality") or "X-ray", "-".join(f"{n:.0f}" for n in numbered if n is not None)]
    angles = [_angles(h) for h in planes]
    parts = ["X-ray with C-arm geometry" if len(planes) == 1 else "Two X-rays with C-arm geometry, taken together"]
    if max(frames) > 1:
        parts.append(f"{' and '.join(str(n) for n in frames)} frames as a sequence")
    lacking = "" if all(_is_stated(h) for h in planes) else "distance source-detector or pixel spacing"
    return Offer(
        tuple(h.file for h in planes),
        tuple(h.text("SOPInstanceUID") for h in planes),
        " ".join([*(w for w in words if w), *(a for a in angles if a)]),
        "; ".join(parts),
        f"The file does not state its {lacking}; what cannot be derived has to be entered." if lacking else "",
        NOT_STATED if lacking else STATED,
    )


def _is_stated(header: _Header) -> bool:
    """Whether the header says what is needed; of an Enhanced object, whose frames say it, it is supposed."""
    if header.text("SOPClassUID") in ENHANCED:
        return True
    return (
        positive(header.tags, "DistanceSourceToDetector", 1) is not None
        and positive(header.tags, "ImagerPixelSpacing", 2) is not None
    )


def _angles(header: _Header) -> str:
    """The C-arm's angles as they are spoken of in a catheter laboratory, degrees."""
    words = []
    for keyword, (rising, falling) in (
        ("PositionerPrimaryAngle", ("LAO", "RAO")),
        ("PositionerSecondaryAngle", ("CRA", "CAU")),
    ):
        angle = header.number(keyword)
        if angle is None:
            return ""
        words.append(f"{rising if round(angle) >= 0 else falling} {abs(angle):.0f}")
    return " ".join(words)
