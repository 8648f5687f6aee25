"""A folder of X-rays registered by a script in Slicer, through the same session as the panel's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.scene.results import read_registration, read_trust

if TYPE_CHECKING:
    from collections.abc import Iterable


def register_folder(
    volume_node: Any,
    xray_files: Iterable[str | Path],
    output: str | Path,
    *,
    preset: str = "thorax-ap",
    sdd: float | None = None,
    spacing: tuple[float, float] | None = None,
    model_folder: str | Path = "",
    segmentation_node: Any = None,
    root: Path | None = None,
    timeout: float | None = None,
) -> dict[str, str]:
    """Register X-rays to a CT of the scene; write NAME.json into `output` for each, and add them to the scene.

    The file holds "verdict", "reason" and "weakest"; "ok" is false where the verdict is "failed".

    Returns file name -> outcome in words; one that fails does not stop the others. `sdd` and `spacing`, mm, are for
    files that do not state them. Raises InputError for a volume that cannot be used, TimeoutError after `timeout` seconds.
    """
    files = [Path(file) for file in xray_files]
    parameters = Parameters(
        volume=volume_node, segmentation=segmentation_node, preset=preset, modelFolder=str(model_folder)
    )
    session = Session(volume_node.GetScene(), parameters, root=root)
    try:
        session.wait(timeout)
        if session.patient_view().problem:
            raise InputError(session.patient_view().problem)
        return {file.name: _register(session, file, Path(output), sdd, spacing, timeout) for file in files}
    finally:
        session.close()


def _register(
    session: Session,
    file: Path,
    output: Path,
    sdd: float | None,
    spacing: tuple[float, float] | None,
    timeout: float | None,
) -> str:
    """The outcome of one file in words."""
    before = {row.node for row in session.rows()}
    session.add_files([file])
    session.wait(timeout)
    added = [row for row in session.rows() if row.node not in before]
    if not added:
        return session.status
    row = added[0]
    session.complete_geometry(
        row.node,
        sdd=sdd if "sdd" in row.missing else None,
        spacing=spacing if "spacing" in row.missing else None,
    )
    try:
        session.register([row.node])
    except InputError as e:
        return str(e)
    session.wait(timeout)
    done = next(r for r in session.rows() if r.node is row.node)
    found = read_registration(row.node)
    if found is not None and done.state == "registered":
        write_json(output / f"{done.name}.json", record(found, file.name, done.outcome))
    return done.outcome


def record(found: dict[str, Any], file_name: str, outcome: str) -> dict[str, Any]:
    """What a file says of a registration, as `read_registration` gives it: that, and the verdict where it is seen at once."""
    trust = read_trust(found)
    said = {} if trust is None else {"verdict": trust.verdict, "reason": trust.reason, "weakest": trust.weakest}
    return {**found, **said, "xray": file_name, "outcome": outcome, "ok": said.get("verdict") != "failed"}
