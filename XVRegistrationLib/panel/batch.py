"""A folder of X-rays registered by a script in Slicer, through the same session as the panel's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volumes.densities import read_densities, text_of_densities
from XVRegistrationLib.imaging.xray_folder import xray_files as files_of
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.panel.volume_values import STRUCTURES, VESSELS
from XVRegistrationLib.registration.result_files import stem_of_result, unused, write_no_result
from XVRegistrationLib.scene.results import read_registration, read_trust
from XVRegistrationLib.scene.runs import frame_of, run_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from XVRegistrationLib.panel.dicom_source import Frame
    from XVRegistrationLib.panel.views import XrayRow


def register_folder(
    volume_node: Any,
    xray_files: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    preset: str = "thorax-ap",
    sdd: float | None = None,
    spacing: tuple[float, float] | None = None,
    c_arm: str = "",
    calibration: str | Path | None = None,
    frame: Frame | None = None,
    subtract: bool | Sequence[int] | None = None,
    model_folder: str | Path = "",
    segmentation_node: Any = None,
    volume_values: str = "ct",
    vessels: tuple[float, float] | None = None,
    not_scanned: float | None = None,
    densities: str | Path | Mapping[str, float] | None = None,
    root: Path | None = None,
    timeout: float | None = None,
) -> dict[str, str]:
    """Register X-rays, or all files of a folder, to a volume of the scene; write a JSON file into `output` for each, and add them to the scene.

    `volume_values` says what the volume's values are, of `volume_values.KINDS`: "vessels" of an angiogram, with the values
    `vessels` of what is no vessel and of one full of contrast agent, or a usual window without it; "structures" for the
    densities of `segmentation_node`, as for MR, by a table of one's own (`densities`: HU by name, or its JSON file) or the
    one that comes along. "ct" is what was said of the volume in the scene before, else a CT.
    Voxels with the value `not_scanned` are air.

    Of a file with several frames all are registered in turn, NAME-0000.json being the first; `frame` chooses one, counted
    from 0, or "min", "max" or "mean" over the run. `subtract` subtracts the mask frames that DICOM runs name, or those
    (from 0) that it lists itself; frames without a mask are left out then. Without it that is done for vessels, where a file
    names masks.

    A JSON file holds "verdict", "reason" and "weakest"; "ok" is false where the verdict is "failed". An X-ray that has no
    pose has one too, with the reason, a file that cannot be read as FILE.EXTENSION.json. A try that failed does not
    replace a better result of an earlier one: it is in NAME.failed.json then.

    Returns file name (the whole path where two are called the same), with the frame of a run, -> outcome in words; one that
    fails does not stop the others. `sdd` and `spacing`, mm, are for files that do not state them, and so is `c_arm`, the name of
    one that `Session.c_arms` lists; `calibration` is a MayaCam or OpenCV file of the camera that took all of them. Raises InputError for a
    volume that cannot be used or a folder without files, TimeoutError after `timeout` seconds without an answer.
    """
    files = files_of(xray_files) if isinstance(xray_files, (str, Path)) else [Path(file) for file in xray_files]
    parameters = Parameters(
        volume=volume_node,
        volumeValues=volume_values,
        segmentation=segmentation_node,
        preset=preset,
        modelFolder=str(model_folder),
    )
    if vessels is not None:
        if volume_values != VESSELS:
            raise InputError(f'A window of vessels is for volume_values="vessels", not "{volume_values}".')
        parameters.vesselsLow, parameters.vesselsHigh = vessels
    if densities is not None:
        if volume_values != STRUCTURES:
            raise InputError(f'Densities of structures are for volume_values="structures", not "{volume_values}".')
        table = read_densities(densities) if isinstance(densities, (str, Path)) else densities
        parameters.densities = text_of_densities(table)
    if not_scanned is not None:
        parameters.useNotScanned, parameters.notScanned = True, not_scanned
    session = Session(volume_node.GetScene(), parameters, root=root)
    names = [file.name for file in files]
    outcomes: dict[str, str] = {}
    try:
        session.wait(timeout)
        if session.patient_view().problem:
            raise InputError(session.patient_view().problem)
        batch = _Batch(session, Path(output), _Said(sdd, spacing, c_arm, calibration), timeout)
        for file in files:
            called = file.name if names.count(file.name) == 1 else str(file)
            outcomes |= {f"{called}{which}": said for which, said in batch.register(file, frame, subtract).items()}
    finally:
        session.close()
    return outcomes


def record(found: dict[str, Any], file_name: str, outcome: str, frame: int | None = None) -> dict[str, Any]:
    """What a file says of a registration, as `read_registration` gives it: that, and the verdict where it is seen at once."""
    trust = read_trust(found)
    said = {} if trust is None else {"verdict": trust.verdict, "reason": trust.reason, "weakest": trust.weakest}
    about = {"xray": file_name, "frame": frame, "outcome": outcome}
    return {**found, **said, **about, "ok": said.get("verdict") != "failed"}


@dataclass(frozen=True)
class _Said:
    """What the caller says of how the X-rays were taken."""

    sdd: float | None
    spacing: tuple[float, float] | None
    c_arm: str
    calibration: str | Path | None


class _Batch:
    """Registers files one after the other."""

    def __init__(
        self,
        session: Session,
        output: Path,
        said: _Said,
        timeout: float | None,
    ) -> None:
        self._session = session
        self._output = output
        self._said = said
        self._timeout = timeout
        self._used: set[str] = set()
        """Names of results of this batch, which do not overwrite each other."""

    def register(self, file: Path, frame: Frame | None, subtract: bool | Sequence[int] | None) -> dict[str, str]:
        """The outcomes of one file in words, by what tells its frames apart: nothing for a single image."""
        session = self._session
        before = {row.node for row in session.rows()}
        session.add_files([file], frame, subtract=subtract)
        session.wait(self._timeout)
        added = [row for row in session.rows() if row.node not in before]
        if not added:
            return {"": self._without(file.name, file, None, session.status)}
        row = added[0]
        reason = self._complete(row.node) or self._try(row.node)
        run = run_of(row.node)
        if run is None:
            return {"": self._keep(row.node, file, row.name, reason)}
        outcomes = {}
        for item in range(run.count):
            session.show_frame(row.node, item)
            number = frame_of(row.node)
            number = item if number is None else number
            outcomes[f", frame {number}"] = self._keep(row.node, file, f"{row.name}-{number:04d}", reason)
        return outcomes

    def _complete(self, node: Any) -> str:
        """Say what is known of how an X-ray was taken; why that cannot be, else nothing."""
        said, missing = self._said, self._row(node).missing
        try:
            self._session.complete_geometry(
                node,
                sdd=said.sdd if "sdd" in missing else None,
                spacing=said.spacing if "spacing" in missing else None,
            )
            if said.c_arm:
                self._session.complete_by_c_arm(node, said.c_arm)
            if said.calibration is not None:
                self._session.complete_by_calibration(node, said.calibration)
        except InputError as e:
            return str(e)
        return ""

    def _try(self, node: Any) -> str:
        """Register an X-ray with all its frames; why that cannot even begin, else nothing."""
        row = self._row(node)
        if row.missing:
            words = {"sdd": "the distance source-detector (sdd)", "spacing": "the pixel spacing (spacing)"}
            return f"The file does not state {' and '.join(words[field] for field in row.missing)}; give it in mm."
        try:
            if run_of(node) is None:
                self._session.register([node])
            else:
                self._session.register_run(node)
        except InputError as e:
            return str(e)
        self._session.wait(self._timeout)
        return ""

    def _keep(self, node: Any, file: Path, name: str, reason: str) -> str:
        """Write what came of the frame that is shown; its outcome in words."""
        done, found = self._row(node), read_registration(node)
        if reason or found is None or done.state != "registered":
            return self._without(name, file, frame_of(node), reason or done.outcome)
        name = self._unused(name)
        content = record(found, file.name, done.outcome, frame_of(node)) | {"name": name}
        stem = stem_of_result(self._output, name, str(content.get("verdict", "")))
        write_json(self._output / f"{stem}.json", content)
        return (
            done.outcome if stem == name else f"{done.outcome}; {name}.json keeps the better result of an earlier try"
        )

    def _without(self, name: str, file: Path, frame: int | None, reason: str) -> str:
        """Write why there is no pose; the same in words."""
        write_no_result(self._output, self._unused(name), reason, xray=file.name, frame=frame, outcome=reason)
        return reason

    def _unused(self, name: str) -> str:
        """The name, with a number where a result of this batch is called so."""
        found = unused(name, self._used)
        self._used.add(found)
        return found

    def _row(self, node: Any) -> XrayRow:
        return next(row for row in self._session.rows() if row.node is node)
