"""Scenes in one file (.mrb), as Slicer saves and opens them."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import writing_to

if TYPE_CHECKING:
    import os
    from collections.abc import Callable


def save_mrb(
    scene: Any,
    path: str | os.PathLike[str],
    thumbnail: str | os.PathLike[str] | None = None,
    edit: Callable[[str], str] | None = None,
) -> Path:
    """Save a scene with all its data as a Slicer bundle; return the file's absolute path.

    `thumbnail` is a PNG that Slicer shows for it; `edit` changes the text of the scene's file in the bundle. Raises InputError if the file cannot be written.
    """
    # The scene is left half-saved by a relative path.
    target = Path(path).resolve()
    if target.suffix.lower() != ".mrb":
        raise InputError(f"{target.name} must end in .mrb to be a Slicer bundle.")
    messages = slicer.vtkMRMLMessageCollection()
    with ExitStack() as stack:
        stack.enter_context(writing_to(target.parent))
        target.parent.mkdir(parents=True, exist_ok=True)
        # The folder inside the bundle is called like the file, so only its folder may be temporary.
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=target.parent, prefix=".saving-"))
        temporary = Path(folder) / target.name
        written = scene.WriteToMRB(str(temporary), _read_png(thumbnail), messages)
        if not written or not _holds_scene(temporary):
            raise InputError(f"{target} could not be written: {_text(messages)}.")
        if edit is not None:
            temporary = _edited(temporary, edit)
        temporary.replace(target)
    return target


def load_mrb(scene: Any, path: str | os.PathLike[str]) -> None:
    """Replace a scene's content by that of a Slicer bundle; InputError, and the scene as it was, if it is not one."""
    source = Path(path).resolve()
    if not source.is_file():
        raise InputError(f"{source} does not exist.")
    if not _holds_scene(source):
        raise InputError(f"{source} is not a Slicer bundle (.mrb): it holds no scene.")
    messages = slicer.vtkMRMLMessageCollection()
    if not scene.ReadFromMRB(str(source), True, messages):
        raise InputError(f"{source} could not be read: {_text(messages)}.")


def _edited(bundle: Path, edit: Callable[[str], str]) -> Path:
    """A copy of a bundle beside it whose scene's file was changed."""
    path = bundle.with_suffix(".edited.mrb")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if entry.filename.endswith(".mrml"):
                new.writestr(entry, edit(old.read(entry).decode("utf-8")))
            else:
                with old.open(entry) as source, new.open(entry, "w") as copy:
                    shutil.copyfileobj(source, copy)
    return path


def _holds_scene(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as bundle:
        return any(name.endswith(".mrml") for name in bundle.namelist())


def _read_png(path: str | os.PathLike[str] | None) -> Any:
    if path is None:
        return None
    reader = vtk.vtkPNGReader()
    if not Path(path).is_file() or not reader.CanReadFile(str(path)):
        raise InputError(f"{path} is not a PNG picture that could be the bundle's thumbnail.")
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def _text(messages: Any) -> str:
    said = [messages.GetNthMessageText(i) for i in range(messages.GetNumberOfMessages())]
    return "; ".join(text.strip().rstrip(".") for text in said if text) or "no reason was given"
