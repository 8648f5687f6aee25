"""Do what Documentation/tutorial.md says, word for word, in the host.

`python -m Testing.Host.tutorial FOLDER [--pictures] [--data FOLDER]`: what the tutorial saves is written into FOLDER; with
`--pictures` the tutorial's own pictures are made anew. The sample's CT is taken from the data folder where it is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from Testing.Host.tutorial_text import TUTORIAL, Step, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from Testing.Host.host import Host

MODULE = Path(__file__).resolve().parents[2] / "XVRegistration/XVRegistration.py"
_PATIENCE = 300.0  # s, for anything
_PAGE = 1080, 1090  # px, of a picture of the report


class SampleData(ModuleType):
    """Slicer's module of that name, as far as an extension's sample is concerned."""

    def __init__(self) -> None:
        super().__init__("SampleData")
        self.offered: dict[str, Callable[[Any], Any]] = {}
        self.SampleDataLogic = self

    def registerCustomSampleDataSource(
        self, category: str, sampleName: str, customDownloader: Callable[[Any], Any]
    ) -> None:
        assert category == "XVRegistration"
        self.offered[sampleName] = customDownloader


class Reader:
    """Reads the tutorial in front of the host, and does what it says."""

    def __init__(self, host: Host, folder: Path, pictures: Path | None) -> None:
        self.host, self.folder, self.pictures = host, folder, pictures
        self.samples = SampleData()
        sys.modules["SampleData"] = self.samples
        self.panel = host.open_module(MODULE).parent
        self.title = host.module.title
        host.leave_module()
        self._here = "Welcome"
        self._last: Any = None  # the widget used last
        self._page: Path | None = None  # the page that is open in the browser

    def follow(self, step: Step) -> None:
        """Do one step; AssertionError, with its sentence, where that is not possible as it is written."""
        try:
            getattr(self, f"_{step.kind}")(*step.words)
        except (AssertionError, TimeoutError) as e:
            raise AssertionError(f"{step.text}\n  {e}\n  The panel says: {self._status()}") from e

    def _module(self, title: str) -> None:
        assert title in ("Sample Data", self.title), f"There is no module {title!r}."
        self._here = title
        if title == self.title:
            self.host.enter_module()
            self.host.process(0.3)

    def _sample(self, name: str) -> None:
        assert self._here == "Sample Data"
        self.samples.offered[name](None)
        self.host.process(0.3)

    def _row(self, name: str) -> None:
        table = self._use(self._ui().xrayTable)

        def rows() -> list[int]:
            return [row for row in range(table.rowCount) if table.item(row, 0).text() == name]

        self.host.wait_until(rows, _PATIENCE)  # its file may still be read
        self.host.click_cell(table, rows()[0], 1)  # beside the check box

    def _files(self, words: str, *names: str) -> None:
        from XVRegistrationLib.panel.sample_data import sample_folder

        self._answer([str(sample_folder() / name) for name in names], words)

    def _save(self, words: str, name: str) -> None:
        self._answer(str(self.folder / name), words)

    def _folder(self, words: str, name: str) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        self._answer(str(self.folder / name), words)

    def _answer(self, answer: Any, words: str) -> None:
        self.host.dialogs.answers.append(answer)
        self._click(words)
        assert not self.host.dialogs.answers, f"{words!r} asked for no file."

    def _click(self, words: str) -> None:
        button = self._use(self._button(words))
        self.host.wait_until(button.isEnabled, _PATIENCE)
        self.host.click(button)

    def _choose(self, value: str, words: str) -> None:
        import slicer.util

        field = self._use(self._field(words))
        if field.className() == "qMRMLNodeComboBox":
            self.host.select_node(field, slicer.util.getNode(value))
        else:
            self.host.wait_until(field.isEnabled, _PATIENCE)
            self.host.choose(field, value)

    def _type(self, value: str, words: str) -> None:
        from PySide6 import QtWidgets

        field = self._use(self._field(words))
        self.host.wait_until(field.isEnabled, _PATIENCE)
        self.host.enter_text(field.findChild(QtWidgets.QDoubleSpinBox) or field, value)

    def _tick(self, words: str, on: bool = True) -> None:
        box = self._use(self._button(words))
        assert box.checked is not on, f"{words!r} is so already."
        self.host.click(box)

    def _untick(self, words: str) -> None:
        self._tick(words, on=False)

    def _wait(self, words: str) -> None:
        self.host.wait_until(lambda: self._reads(words), _PATIENCE)

    def _says(self, words: str) -> None:
        # What the step before has begun may still be going on.
        self.host.wait_until(lambda: self._reads(words), _PATIENCE)

    def _browser(self, name: str) -> None:
        self._page = self.folder / name
        assert "</html>" in self._page.read_text("utf-8")

    def _picture(self, path: str) -> None:
        if self._page is not None:
            if self.pictures is not None:
                print(_smaller(_print_page(self._page, self.pictures / path)))
            self._page = None
            return
        session = self.host.module.widgetRepresentation().self().logic.session
        self.host.wait_until(lambda: not session.busy, _PATIENCE)
        if self._last is not None:
            self.host.panel.ensureWidgetVisible(self._last, 0, 200)
        self.host.process(0.5)
        if self.pictures is not None:
            print(_smaller(self.host.screenshot(self.pictures / path)))

    def _reads(self, words: str) -> bool:
        from Testing.Host.finding import shown_texts

        return any(words in text for text in shown_texts(self.host.window, self.panel))

    def _status(self) -> str:
        return str(self._ui().statusLabel.text)

    def _ui(self) -> Any:
        return self.host.module.widgetRepresentation().self().ui

    def _button(self, words: str) -> Any:
        from Testing.Host.finding import button

        return button(self.panel, words)

    def _field(self, words: str) -> Any:
        from Testing.Host.finding import field

        return field(self.panel, words)

    def _use(self, widget: Any) -> Any:
        self._last = widget
        return widget


def _smaller(path: Path) -> Path:
    """The picture of a file in fewer shades, which nobody sees, and then in half as many bytes, in the same file."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    grey = np.ptp(pixels, axis=2, keepdims=True) < 8
    step = np.where(grey, 4, 12)
    fewer = np.where(pixels > 250, 255, pixels // step * step + step // 2)
    Image.fromarray(fewer.clip(0, 255).astype(np.uint8)).save(path, optimize=True)
    return path


def _print_page(page: Path, picture: Path) -> Path:
    """A picture of the beginning of an HTML page, as far as Qt's rich text shows it; returns the picture's path."""
    from PySide6 import QtCore, QtGui

    document = QtGui.QTextDocument()
    document.setHtml(page.read_text("utf-8"))
    document.setTextWidth(_PAGE[0])
    image = QtGui.QImage(*_PAGE, QtGui.QImage.Format.Format_RGB32)
    image.fill(QtCore.Qt.GlobalColor.white)
    painter = QtGui.QPainter(image)
    document.drawContents(painter, QtCore.QRectF(0, 0, *_PAGE))
    painter.end()
    assert image.save(str(picture)), f"{picture} could not be written."
    return picture


def _take_sample(data: Path | None, home: Path) -> None:
    """Put the sample's files that were downloaded before where the sample looks for them."""
    for name in ("cxr.nii.gz", "mask.nii.gz", "structures.csv"):
        if data is not None and (data / name).is_file():
            (home / "sample").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / name, home / "sample" / name)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m Testing.Host.tutorial", description=__doc__)
    parser.add_argument("folder", type=Path, help="for what is saved")
    parser.add_argument("--pictures", action="store_true", help="make the tutorial's pictures anew")
    parser.add_argument("--data", type=Path, help="where the sample's CT may be found, such as .demo-data")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # As a new user's: no model was made yet.
    with tempfile.TemporaryDirectory(prefix="xvregistration-tutorial-") as home:
        os.environ["XVREGISTRATION_HOME"] = home
        _take_sample(options.data, Path(home))
        _read_to_the_end(folder, TUTORIAL.parent if options.pictures else None)
    return 0


def _read_to_the_end(folder: Path, pictures: Path | None) -> None:
    from Testing.Host import start_host

    host = start_host()
    reader = Reader(host, folder, pictures)
    begun = time.monotonic()
    for step in read_steps(TUTORIAL.read_text("utf-8")):
        print(f"{time.monotonic() - begun:5.0f} s  {step.text}", flush=True)
        reader.follow(step)
    print(f"The end was reached after {(time.monotonic() - begun) / 60:.1f} minutes.")
    host.close()
    host.errors.check()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
