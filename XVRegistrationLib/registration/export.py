"""Registrations as files for other programs: transforms, matrices, calibrations, tables, labels on the X-ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing, write_json, writing_to
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.imaging.dicom.segmentation_writer import write_dicom_segmentation
from XVRegistrationLib.imaging.intensity import display_integral
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel, merged_labels, write_label_map, write_overlay
from XVRegistrationLib.registration.export_geometry import FILES, write_geometry
from XVRegistrationLib.registration.export_table import write_tables
from XVRegistrationLib.registration.review import Review

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.registration.result import Registration

_LABELS = {
    "_labels.nii.gz": "The structures where they fall on the X-ray, as a label map of one slice that lies where the detector was. "
    "Where structures overlap the smaller is kept; _labels.json says which value is which.",
    "_labels.nrrd": "The same label map as NRRD.",
    "_labels.json": "Value, name and colour of each structure.",
    "_labels.dcm": "The same as a DICOM segmentation that refers to the X-ray; overlaps are kept.",
    "_overlay.png": "The X-ray's own pixels with the outlines of the structures, and crosses at the targets. "
    "What was not drawn in Slicer is not on it either; the other files hold it.",
    "registrations.json": "All registrations, with their matrices and where the targets fall.",
    "registrations.csv": "The same, a row for each X-ray.",
    "scene.mrb": "All of it as a scene for 3D Slicer.",
}
README = "README.txt"


@dataclass(frozen=True, eq=False)
class Exported:
    """A registered X-ray, and what is known of it."""

    registration: Registration
    xray: Xray | None = None
    """For the overlay."""
    labels: tuple[ProjectedLabel, ...] = ()
    dicom: Path | None = None
    """The X-ray's DICOM file, for a DICOM segmentation."""
    frame: int | None = None
    """Which of its frames, counted from 0."""
    review: Review = field(default_factory=Review)
    """What was decided on it."""
    left_out: frozenset[str] = frozenset()
    """Names of those labels that the overlay does not show; all else has them."""


def write_exports(
    folder: Path,
    items: Sequence[Exported],
    targets: Sequence[Target] = (),
    *,
    keep_identity: bool = False,
    draw_targets: bool = True,
) -> list[Path]:
    """Write into a folder all that can be written of each X-ray; return the paths of what was.

    Data have all labels and targets; the overlay has no targets without `draw_targets`. Files are named by the X-rays, and
    README.txt says what each holds. Nothing that names the patient is written, unless `keep_identity` lets the DICOM
    segmentations have what the X-ray's header says. Raises InputError for two X-rays of one name, for labels that do not fit, and for a folder that cannot be written to.
    """
    check_names([item.registration.name for item in items])
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for item in items:
            written += write_export(folder, item, targets if draw_targets else (), keep_identity=keep_identity)
        return write_overview(folder, items, targets, written)


def check_names(names: Sequence[str]) -> None:
    """Raise InputError where X-rays of these names cannot have files called by them."""
    if not names:
        raise InputError("There is no registration to export.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Several X-rays are called {', '.join(twice)}; their files would overwrite each other.")
    for name in names:
        if not name or set(name) & set('/\\:*?"<>|\0') or name.strip(" .") == "":
            raise InputError(f"{name!r} cannot be the name of a file; rename the X-ray.")


def write_export(
    folder: Path, item: Exported, drawn: Sequence[Target] = (), *, keep_identity: bool = False
) -> list[Path]:
    """Write the files of one X-ray into a folder that is there, its overlay with the targets `drawn`; as `write_exports`."""
    written = write_geometry(folder, item.registration)
    written += _write_labels(folder, item, keep_identity)
    if item.xray is not None:
        written.append(folder / f"{item.registration.name}_overlay.png")
        pixels = [project(point, item.registration.pose, item.registration.intrinsics) for _, point in drawn]
        seen = [(float(p[0]), float(p[1])) for p in pixels]
        outlined = [label for label in item.labels if label.name not in item.left_out]
        write_overlay(written[-1], display_integral(item.xray), outlined, seen)
    return written


def write_overview(
    folder: Path, items: Sequence[Exported], targets: Sequence[Target], written: Sequence[Path]
) -> list[Path]:
    """Write the tables of all X-rays, and README.txt on these and on what is `written` of them; return all files."""
    tables = write_tables(folder, [item.registration for item in items], targets, [item.review for item in items])
    write_readme(folder, [*tables, *written])
    return [*tables, *written, folder / README]


def remove_exports(folder: Path, kept: Collection[str]) -> None:
    """Remove the files of an earlier export from a folder but those with the names `kept`, and the folder if it is empty then.

    What else is there stays.
    """
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if path.name not in kept and path.is_file() and _is_ours(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_ours(name: str) -> bool:
    """Whether a file is called as an export calls it: of an X-ray by an ending, of all X-rays by a name."""
    endings = (*FILES, *_LABELS, README)
    return any(name.endswith(e) if e.startswith("_") else name == e for e in endings)


def write_readme(folder: Path, written: Sequence[Path]) -> None:
    """Say in README.txt what each of the files holds."""
    lines = [
        "What was exported. RAS and LPS are the patient's axes: right, anterior, superior; left, posterior, superior.",
        "",
    ]
    for ending, meaning in {**FILES, **_LABELS}.items():
        if any(path.name.endswith(ending) for path in written):
            lines.append(f"{'NAME' if ending.startswith('_') else ''}{ending}: {meaning}")
    lines += ["", "For research, not for clinical use."]
    with writing_to(folder), replacing(folder / README) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def _write_labels(folder: Path, item: Exported, keep_identity: bool) -> list[Path]:
    if not item.labels:
        return []
    found, name = item.registration, item.registration.name
    merged = merged_labels(item.labels)
    if merged.shape != found.intrinsics.size[::-1]:
        raise InputError(
            f"The labels of {name} have {merged.shape[::-1]} pixels; the X-ray has {found.intrinsics.size}."
        )
    paths = [folder / f"{name}_labels{suffix}" for suffix in (".nii.gz", ".nrrd", ".json")]
    for path in paths[:2]:
        write_label_map(path, merged, found.pose, found.intrinsics)
    legend = [{"value": i, "name": x.name, "color": list(x.color)} for i, x in enumerate(item.labels, start=1)]
    write_json(paths[2], legend)
    if item.dicom is not None:
        paths.append(folder / f"{name}_labels.dcm")
        write_dicom_segmentation(paths[-1], item.dicom, item.labels, frame=item.frame, keep_identity=keep_identity)
    return paths
