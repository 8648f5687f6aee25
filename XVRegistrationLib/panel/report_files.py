"""What a report writes beside its page for other programs: the engine writes the files of one X-ray after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import move_staged, staging, writing_to
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.registration.export import README, Exported, check_names, write_overview
from XVRegistrationLib.scene.attributes import read_scale
from XVRegistrationLib.scene.ignored import pixels_of
from XVRegistrationLib.scene.runs import frame_of
from XVRegistrationLib.scene.segments import segments_of, terminology_of
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from XVRegistrationLib.evaluation.xray_report import ReportedXray
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.registration.export_table import Target


@dataclass(eq=False)
class ReportFiles:
    """The files of one report."""

    context: Context
    folder: Path
    """Where they are written to; it is made."""
    volume: str
    """The engine's key."""
    nodes: Sequence[Any]
    """Image nodes of the X-rays."""
    structures: Sequence[tuple[int, str, Any, str]]
    """Value, name, colour and terminology entry of all that the engine can project."""
    hidden: Sequence[str]
    """Names of those that pictures do not show."""
    targets: Sequence[Target]
    shows_targets: bool
    dicom: Mapping[Any, Path]
    """Image nodes and their DICOM files, where DICOM segmentations can be written."""
    keep_identity: bool
    said: str
    """What is not written, and why, in sentences that begin with a space."""
    _items: list[Exported] = field(default_factory=list)

    def begin(self) -> bool:
        """Whether there are X-rays that can have files."""
        try:
            with writing_to(self.folder):
                self.folder.mkdir()
            check_names([name_of(node) for node in self.nodes])
        except InputError as e:
            self.miss(str(e))
            return False
        return True

    def ask(self, node: Any, xray: ReportedXray, done: Callable[[], object]) -> int:
        """Have the files of one X-ray written; `done` is called then, or when it failed. Returns the number of the request.

        Raises InputError where nothing can be written.
        """
        assert xray.registration is not None  # by its group
        found = replace(xray.registration, name=name_of(node))
        whole = staging(self.folder)  # so that none of an X-ray's files is there where one of them cannot be written

        def written(_message: Any) -> None:
            try:
                move_staged(Path(whole.name), self.folder)
            except InputError as e:
                failed(str(e))
                return
            whole.cleanup()
            self._items.append(Exported(found, review=xray.review))
            done()

        def failed(text: str) -> None:
            whole.cleanup()
            self.miss(f"{found.name}: {text}")
            done()

        dicom = self.dicom.get(node)
        return self.context.ask(
            "export_xray",
            written,
            on_error=failed,
            arrays=pixels_of(node),
            lasting=True,  # what the engine is writing now is to be removed then
            volume=self.volume,
            registration=found.to_dict(),
            scale=read_scale(node),
            structures=list(self.structures),
            hidden=list(self.hidden),
            targets=[(name, list(map(float, point))) for name, point in self.targets if self.shows_targets],
            folder=whole.name,
            dicom=None if dicom is None else str(dicom),
            frame=frame_of(node),
            keep_identity=self.keep_identity,
        )

    def finish(self) -> bool:
        """Write the tables and README.txt; whether there are any files."""
        if not self._items:
            return False
        try:
            with writing_to(self.folder):
                write_overview(self.folder, self._items, self.targets, list(self.folder.iterdir()))
        except InputError as e:
            self.miss(str(e))
        return True

    @property
    def explained(self) -> bool:
        """Whether README.txt is there."""
        return (self.folder / README).is_file()

    def miss(self, why: str) -> None:
        """Keep why something is not written."""
        self.said += _(" Not written for other programs: {why}").format(why=why)


def terms_of(structures: Sequence[tuple[int, str, Any]], segmentation: Any) -> list[tuple[int, str, Any, str]]:
    """Value, name and colour of structures, with the terminology entry of the segment of that name, empty without one."""
    entries: dict[str, str] = {}
    for segment_id, name, _color in [] if segmentation is None else segments_of(segmentation):
        found = terminology_of(segmentation.GetSegmentation().GetSegment(segment_id))
        entries[name] = "" if found is None else found.entry
    return [(value, name, color, entries.get(name, "")) for value, name, color in structures]
