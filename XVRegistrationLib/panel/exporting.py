"""X-rays of a session, written for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import is_dicom
from XVRegistrationLib.imaging.dicom.segmentation_writer import can_segment
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.readiness import foreign
from XVRegistrationLib.scene.export import export_xrays, kept_back
from XVRegistrationLib.scene.leaving_out import is_for_others
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.structures import Structures
    from XVRegistrationLib.panel.xrays import Xrays


def can_export(context: Context, xrays: Xrays) -> str:
    """Why no X-ray can be exported; empty if one can."""
    if context.parameters is None or not any(registration_that_holds(node) is not None for node in xrays.nodes()):
        return _("Register an X-ray first.")
    return ""


def export_registered(
    context: Context,
    xrays: Xrays,
    structures: Structures,
    folder: Path,
    nodes: Sequence[Any] | None,
    keep_identity: bool,
    bundle: bool,
) -> list[Path]:
    """Write X-rays, or all that are registered where they stand and not rejected, into a folder; return the files."""
    obstacle = foreign(xrays, nodes or ())
    if obstacle:
        raise InputError(obstacle)
    mine = xrays.nodes()
    registered = [n for n in mine if registration_that_holds(n) is not None] if nodes is None else list(nodes)
    chosen = [n for n in registered if nodes is not None or is_for_others(n)]
    if not registered:
        raise InputError(_("Register an X-ray first."))
    if not chosen:
        raise InputError(_("All registered X-rays are rejected; nothing is exported."))
    rejected = [name_of(n) for n in registered if n not in chosen]
    back = [name_of(node) for node in kept_back(context.scene, chosen)] if bundle else []
    files = dicom_files(xrays, chosen)
    written = export_xrays(
        context.scene,
        chosen,
        folder,
        targets_node=context.parameters.targets if context.parameters is not None else None,
        dicom_files=files,
        left_out=lambda name: not structures.draws(name),
        draw_targets=context.parameters is None or context.parameters.showTargets,
        keep_identity=keep_identity,
        bundle=bundle,
    )
    said = _("{count} files were written to {folder}.").format(count=len(written), folder=folder)
    labelled = [node for node in chosen if folder / f"{name_of(node)}_labels.nrrd" in written]
    said += not_segmented(xrays, labelled)
    if rejected:
        said += _(" Left out, as rejected: {names}.").format(names=", ".join(rejected))
    back = [name for name in back if name not in rejected]
    if back:
        said += _(" Left out of the scene, as not registered: {names}.").format(names=", ".join(back))
    context.say(said)
    return written


def dicom_files(xrays: Xrays, nodes: Sequence[Any]) -> dict[Any, Path]:
    """The DICOM files of X-rays, as far as they are known, for DICOM segmentations; none where these cannot be written."""
    if not can_segment():
        return {}
    known = {node: xrays.files.of(node) for node in nodes}
    return {node: file for node, file in known.items() if file is not None and is_dicom(file)}


def not_segmented(xrays: Xrays, nodes: Sequence[Any]) -> str:
    """Why those of these X-rays that may be of DICOM have no DICOM segmentation; empty if all have."""
    known = {node: xrays.files.of(node) for node in nodes}
    unknown = [name_of(node) for node, file in known.items() if file is None]
    said = ""
    if not can_segment() and any(file is not None and is_dicom(file) for file in known.values()):
        said += _(" For DICOM segmentations install highdicom: open Setup above.")
    if unknown:
        said += _(" No DICOM segmentation, for want of their files, of: {names}.").format(names=", ".join(unknown))
    return said
