"""Open the panel in a window, without Slicer: `python -m Testing.Host [--data FOLDER] [--screenshot PNG]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from XVRegistrationLib.imaging.volume import read_label_names

ROOT = Path(__file__).resolve().parents[2]
_VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
# Of a file with one of these in its name, the numbers are labels.
_LABELS = ("mask", "label", "seg")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m Testing.Host", description=__doc__)
    parser.add_argument("--module", type=Path, default=ROOT / "XVRegistration/XVRegistration.py", help="another module")
    parser.add_argument("--data", type=Path, help="load the volumes and label maps of this folder, such as .demo-data")
    parser.add_argument("--screenshot", type=Path, help="write a picture of the window and end")
    options = parser.parse_args(arguments)
    if options.data is not None and not options.data.is_dir():
        parser.error(f"there is no folder {options.data}")

    from Testing.Host import start_host

    host = start_host(testing=options.screenshot is not None)
    host.open_module(options.module)
    if options.data is not None:
        host.window.statusBar().showMessage(f"Loading {options.data}...")
        host.process()
        load_folder(options.data)
        host.window.statusBar().clearMessage()
    if options.screenshot is not None:
        host.process(1.0)
        print(host.screenshot(options.screenshot))
    else:
        host.app._host_qt.exec()
    host.close()
    return 0


def load_folder(folder: Path) -> list[Any]:
    """Load the volumes of a folder, label maps among them as segmentations, and show the first; return the nodes."""
    import slicer.util

    files = sorted(path for path in folder.iterdir() if path.name.endswith(_VOLUMES))
    names = {k: v for table in sorted(folder.glob("*.csv")) for k, v in read_label_names(table).items()}
    nodes = []
    for path in files:
        stem = path.name.partition(".")[0]
        if any(word in stem.lower() for word in _LABELS):
            node = slicer.util.loadSegmentation(str(path))
            segmentation = node.GetSegmentation()
            for segment in map(segmentation.GetNthSegment, range(segmentation.GetNumberOfSegments())):
                segment.SetName(names.get(segment.GetLabelValue(), segment.GetName()))
            nodes.append(node)
        else:
            nodes.append(slicer.util.loadVolume(str(path)))
    return nodes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
