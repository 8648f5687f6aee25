"""X-rays of a session, written for other programs."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import is_dicom
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.readiness import foreign
from XVRegistrationLib.scene.export import export_xrays
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.reviews import read_review
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
    rejected = [n for n in registered if nodes is None and read_review(n).review.decision == "rejected"]
    chosen = [n for n in registered if n not in rejected]
    if not registered:
        raise InputError(_("Register an X-ray first."))
    if not chosen:
        raise InputError(_("All registered X-rays are rejected; nothing is exported."))
    known = {node: xrays.files.of(node) for node in chosen}
    files = {node: file for node, file in known.items() if file is not None and is_dicom(file)}
    # Slicer does not come with it, and all else can be written without it.
    can_segment = importlib.util.find_spec("highdicom") is not None
    written = export_xrays(
        context.scene,
        chosen,
        folder,
        targets_node=context.parameters.targets if context.parameters is not None else None,
        dicom_files=files if can_segment else {},
        left_out=lambda name: not structures.draws(name),
        draw_targets=context.parameters is None or context.parameters.showTargets,
        keep_identity=keep_identity,
        bundle=bundle,
    )
    said = _("{count} files were written to {folder}.").format(count=len(written), folder=folder)
    if files and not can_segment and any(path.name.endswith("_labels.nrrd") for path in written):
        said += _(" For DICOM segmentations install highdicom: slicer.util.pip_install('highdicom').")
    if rejected:
        said += _(" Left out, as rejected: {names}.").format(names=", ".join(name_of(n) for n in rejected))
    context.say(said)
    return written
