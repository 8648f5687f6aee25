"""Where the data files of `Resources/` are, however the package was put on this computer."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Path of the data file `name`, given relative to `Resources/`, as in `resource("requirements.txt")`.

    A wheel and Slicer's install have the folder inside the package, a source tree beside it.
    Raises FileNotFoundError, which says that the installation is incomplete, if the file is in neither.
    """
    for folder in (PACKAGE / "Resources", PACKAGE.parent / "Resources"):
        path = folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"The data file {name} of XVRegistration is missing: the installation is incomplete.")
