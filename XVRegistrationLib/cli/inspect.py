"""`xvregistration inspect`: what is understood of a file, as a table, as JSON, and as a picture of the steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.inspect_pictures import draw_volume, draw_xray
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.damaged import guarded
from XVRegistrationLib.imaging.dicom.dataset import understanding
from XVRegistrationLib.imaging.dicom.plain_words import dicom_words
from XVRegistrationLib.imaging.inspection import ORIGINS, check_frame, inspect_volume, inspect_xray
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.imaging.volume import Volume, check_grid, understood
from XVRegistrationLib.imaging.volumes.read import file_of, read_stored
from XVRegistrationLib.imaging.xray_files import read_xray_parts

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.inspection import Inspection

_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")


def run(options: argparse.Namespace) -> int:
    """Print what is understood of a file; write the picture of its steps where one was asked for."""
    path, picture = Path(options.file), None if options.output is None else Path(options.output)
    _check_picture(path, picture)
    words = dicom_words(path) if path.is_file() else None
    if file_of(path).is_dir() or (words is not None and words.is_volume) or (words is None and _has_slices(path)):
        found = _volume(options, path, words, picture)
    else:
        found = _xray(options, path, words, picture)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return 0
    print(in_words(found))
    print("\nThe steps are drawn in the picture." if picture else "\nGive -o FILE.png for a picture of the steps.")
    return 0


def in_words(found: Inspection) -> str:
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


def _volume(options: argparse.Namespace, path: Path, words: DicomWords | None, picture: Path | None) -> Inspection:
    if options.frame is not None or options.ignore:
        raise InputError(f"{path} is a volume; --frame and --ignore are for X-rays.")
    with understanding(path):
        stored = read_stored(path)
        check_grid(stored.array.shape, stored.ijk_to_ras, str(path))
        found = inspect_volume(stored, words, lambda: understood(stored, path).notes)
    if picture is not None:
        is_ct = any(fact.name == "padding" for fact in found.facts)
        draw_volume(picture, Volume(stored.array, stored.ijk_to_ras, units="HU" if is_ct else "1/mm"))
    return found


def _xray(options: argparse.Namespace, path: Path, words: DicomWords | None, picture: Path | None) -> Inspection:
    spacing = None if options.spacing is None else (options.spacing[0], options.spacing[1])
    frame = 0 if options.frame is None else check_frame(options.frame)  # the first of a run stands for all
    parts = read_xray_parts(path, sid=options.sid, spacing=spacing, mirrored=options.mirrored, frame=frame)
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
