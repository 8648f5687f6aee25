"""Whether a CT is one that X-rays can be learnt from, of the part of the body that it is said to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.training.body import body_of

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.training.body import Body

_BODY, _METAL = -300.0, 2500.0  # HU; cortical bone has up to 2000, most scanners end at 3071
_MOST_METAL = 0.02
"""Of the voxels of a body. Measured: a hip prosthesis 0.0005, a heart full of contrast agent beside calcium 0.0007."""
_LEAST_CUT = 5000.0
"""mm^2 of a patient cut off in the X-rays' field of view that are worth a word: more than an elbow."""

# Measured: lung 0.18 of a chest, 0.003 of an abdomen with a pelvis, 0.02 of the lowest lungs; soft tissue 0.83 or more of three
# CTs of patients, 0.34 and 0.41 of bones that were cut out. A skull encloses about half of a head, nothing else of a body any.
_SOFT, _NO_LUNG, _CHEST, _HEAD, _NO_SKULL = 0.6, 0.005, 0.12, 0.25, 0.01
_WIDE, _LONG = 250.0, 500.0  # mm: an adult's pelvis is wider, a head is not; a CT of more than a chest is longer


@dataclass(frozen=True)
class Suitability:
    """What speaks against a CT, in sentences."""

    refusal: str = ""
    """Why nothing should be made of it; empty where nothing is sure."""
    doubts: tuple[str, ...] = ()
    """What its user should know."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them."""
        return (self.refusal, *self.doubts) if self.refusal else self.doubts


def suitability(volume: Volume, view: NominalView, intrinsics: Intrinsics, anatomy: str = "") -> Suitability:
    """What speaks against learning X-rays of a CT from a `view`, where `anatomy` names the preset of a part of the body.

    Without it, or for a volume that has no HU, nothing is said of the part of the body. MR and other volumes that are no CT
    have been refused when they were read.
    """
    body = body_of(volume)
    if body is None:
        return Suitability()
    sure, unsure = _of_another_part(body, anatomy)
    doubts = [unsure, _cut_off(body, view, intrinsics)]
    if anatomy.startswith("vessels"):
        doubts.append(
            "is read as a CT in HU, so that its X-rays show bones too; for subtracted X-rays say that it is an angiogram of vessels"
        )
    refusal = _metal(volume) or sure
    return Suitability(_said(volume, refusal), tuple(_said(volume, doubt) for doubt in doubts if doubt))


def metal_share(volume: Volume) -> float:
    """Share of the body's voxels that are metal, 0 to 1, of a CT in HU; 0 for anything else."""
    if volume.units != "HU":
        return 0.0
    body = metal = 0
    for plane in volume.array:  # not the whole at once: that would be a copy
        body += int(np.count_nonzero(plane > _BODY))
        metal += int(np.count_nonzero(plane > _METAL))
    return metal / body if body else 0.0


def _said(volume: Volume, what: str) -> str:
    return f"{volume.name} {what}." if what else ""


def _metal(volume: Volume) -> str:
    share = metal_share(volume)
    if share <= _MOST_METAL:
        return ""
    return (
        f"is full of metal: {share:.0%} of its body has more than {_METAL:.0f} HU. Its X-rays would show "
        "the metal's artefacts; use a CT with artefacts reduced, or one of the patient without it"
    )


def _of_another_part(body: Body, anatomy: str) -> tuple[str, str]:
    """What is surely, and what is perhaps, another part of the body than the preset's; both empty where it may be it.

    Bones that were cut out are not judged, nor is a spine, which is in most CTs.
    """
    part = anatomy.partition("-")[0]
    if body.soft < _SOFT:
        return "", ""
    head, chest = body.skull >= _HEAD, body.lung >= _CHEST
    skull = f"a skull encloses {body.skull:.0%} of it"
    lungs = f"{body.lung:.0%} of it is lung"
    if part == "thorax":
        if head and body.lung < _NO_LUNG:
            return f"is of a head and not of a thorax: {skull}", ""
        if body.lung < _NO_LUNG and body.whole:
            return "shows no lungs, so it is not of a thorax, unless both are full of fluid", ""
    elif part == "pelvis":
        if head:
            return f"is of a head and not of a pelvis: {skull}", ""
        if chest and body.length < _LONG:
            return f"is of a chest and not of a pelvis: {lungs}", ""
        if body.across < _WIDE and body.whole:
            return "", f"is {body.across / 10:.0f} cm across, so it is not of a pelvis, unless it is a child's"
    elif part in ("skull", "vessels"):
        if body.skull < _NO_SKULL and chest:
            return f"is of a chest and not of a head: {lungs}, and no skull is in it", ""
        if body.skull < _NO_SKULL and body.across > _WIDE and body.whole:
            return f"is {body.across / 10:.0f} cm across and shows no skull, so it is not of a head", ""
    elif part == "limb" and (head or chest):
        return "", f"is hardly of a limb: {skull if head else lungs}"
    return "", ""


def _cut_off(body: Body, view: NominalView, intrinsics: Intrinsics) -> str:
    """Where the CT ends within the nominal X-ray and the patient does not."""
    width, height = intrinsics.size
    sides = []
    for side, points in body.cut.items():
        x, y = project(points, view.pose, intrinsics).T
        with np.errstate(invalid="ignore"):  # points behind the source
            seen = np.count_nonzero((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5))
        if seen * body.point_mm2 > _LEAST_CUT:
            sides.append(side)
    if not sides:
        return ""
    return (
        f"ends within the X-rays' field of view ({', '.join(sides)}), where the patient goes on. X-rays will show what it "
        "does not, which makes them harder to register there"
    )
