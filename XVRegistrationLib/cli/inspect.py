"""`xvregistration inspect`: what is understood of a file, as a table, as JSON, and as a picture of the steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.inspect_pictures import draw_structures, draw_volume, draw_xray
from XVRegistrationLib.cli.volume_options import reading_from
from XVRegistrationLib.cli.xray_options import in_words, one_frame, read_parts, subtraction_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.damaged import guarded
from XVRegistrationLib.imaging.dicom.dataset import understanding
from XVRegistrationLib.imaging.dicom.plain_words import dicom_words
from XVRegistrationLib.imaging.inspection import ORIGINS, inspect_xray
from XVRegistrationLib.imaging.inspection_structures import inspect_structures, looks_like_labels
from XVRegistrationLib.imaging.inspection_volume import inspect_volume
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.segmentation_nrrd import is_slicers
from XVRegistrationLib.imaging.volume import Volume, check_grid, read_label_names, understood
from XVRegistrationLib.imaging.volumes.read import file_of, read_stored
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.inspection import Inspection
    from XVRegistrationLib.imaging.volumes.stored import Stored

_OF_XRAYS = (
    "frame",
    "subtract",
    "mask_frames",
    "sid",
    "spacing",
    "calibration",
    "undistorted",
    "c_arm",
    "bright",
    "mirrored",
    "ignore",
)
_OF_VOLUMES = ("ct_series", "values", "not_scanned", "segmentation", "densities")
_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")


def run(options: argparse.Namespace) -> int:
    """Print what is understood of a file; write the picture of its steps where one was asked for."""
    path, picture = Path(options.file), None if options.output is None else Path(options.output)
    _check_picture(path, picture)
    words = dicom_words(path) if path.is_file() else None
    if path.is_file() and (is_slicers(path) if words is None else "Segmentation" in words.kind):
        found = _structures(options, path, words, picture)
    elif file_of(path).is_dir() or (words is not None and words.is_volume) or (words is None and _has_slices(path)):
        found = _volume(options, path, words, picture)
    else:
        found = _xray(options, path, words, picture)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return 0
    print(_table(found))
    print("\nThe steps are drawn in the picture." if picture else "\nGive -o FILE.png for a picture of the steps.")
    return 0


def _table(found: Inspection) -> str:
    """The table of an inspection, with its notes and what is missing."""
    rows = [(f.what, f.said, ORIGINS[f.origin], f.where) for f in found.facts]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{found.kind[0].upper()}{found.kind[1:]}: {found.title}", ""]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  ".join(["", *cells, row[3]]).rstrip())
    lines += ["", *(f"Note: {note}" for note in found.notes)] if found.notes else []
    lines += ["", *(f"Missing: {sentence}" for sentence in found.missing)] if found.missing else []
    return "\n".join(lines)


def _structures(options: argparse.Namespace, path: Path, words: DicomWords | None, picture: Path | None) -> Inspection:
    _refuse(options, _OF_XRAYS, path, "holds structures", "X-rays")
    _refuse(options, _OF_VOLUMES, path, "holds structures", "volumes")
    found = read_segmentation(path, None if options.label_names is None else read_label_names(options.label_names))
    if picture is not None:
        draw_structures(picture, found)
    title = words.kind if words is not None else "segmentation of Slicer" if is_slicers(path) else "label map"
    return inspect_structures(found, title)


def _refuse(options: argparse.Namespace, names: Sequence[str], path: Path, what: str, whom: str) -> None:
    """Raise InputError for options of `names` that were given, though the file is something else."""
    given = _given(options, names)
    if given:
        raise InputError(f"{path} {what}; {', '.join(given)} {'is' if len(given) == 1 else 'are'} for {whom}.")


def _given(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The options of `names` that were given, as they are typed."""
    typed = {name: "as" if name == "values" else name.replace("_", "-") for name in names}
    values = {word: getattr(options, name) for name, word in typed.items()}
    return [f"--{word}" for word, value in values.items() if value is not None and value is not False]  # 0 was given


def _volume(options: argparse.Namespace, path: Path, words: DicomWords | None, picture: Path | None) -> Inspection:
    _refuse(options, _OF_XRAYS, path, "is a volume", "X-rays")
    may_be_labels = words is None and path.is_file() and not _given(options, _OF_VOLUMES)
    with understanding(path):
        reading = Reading() if may_be_labels else reading_from(options)
        stored = read_stored(path, reading.series)
        if may_be_labels and looks_like_labels(stored):
            return _structures(options, path, None, picture)
        check_grid(stored.array.shape, stored.ijk_to_ras, str(path))
        reading = reading_from(options)
        found, volume = inspect_volume(stored, words, reading, lambda: _understood(stored, path, reading))
    if picture is not None:
        draw_volume(picture, volume or Volume(stored.array, stored.ijk_to_ras, units="1/mm"))
    return found


def _understood(stored: Stored, path: Path, reading: Reading) -> Volume:
    """The volume; what is said of one that cannot be understood has the options of this command in it."""
    try:
        return understood(stored, path, reading)
    except InputError as e:
        raise InputError(in_words(e)) from None


def _xray(options: argparse.Namespace, path: Path, words: DicomWords | None, picture: Path | None) -> Inspection:
    _refuse(options, (*_OF_VOLUMES, "label_names"), path, "is no volume", "volumes")
    frame = 0 if options.frame is None else one_frame(options)  # the first of a run stands for all
    parts = read_parts(str(path), options, frame, subtraction_of(options))
    counts = ignored((parts.size[1], parts.size[0]), options.ignore or (), parts.name)
    found = inspect_xray(parts, words, counts)
    if picture is not None:
        draw_xray(picture, parts, words, counts)
    return found


def _has_slices(path: Path) -> bool:
    """Whether a file that is not DICOM holds a volume; one that is missing or damaged is an X-ray that cannot be read."""
    import SimpleITK as sitk

    if not path.is_file() or not path.name.lower().endswith(_VOLUME_SUFFIXES):
        return False
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with guarded(path):
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return False
    return any(n > 1 for n in reader.GetSize()[2:])


def _check_picture(path: Path, picture: Path | None) -> None:
    """Raise InputError unless the picture can be written, and is not the file itself."""
    if picture is None:
        return
    if picture.suffix.lower() != ".png":
        raise InputError(f"{picture} must end with .png; the picture of the steps is a PNG file.")
    if picture.is_dir():
        raise InputError(f"{picture} is a folder; give the name of a PNG file.")
    if picture.resolve() == path.resolve():
        raise InputError(f"{picture} is the input and would be overwritten; choose another -o.")
