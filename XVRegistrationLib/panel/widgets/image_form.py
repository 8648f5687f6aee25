"""The form between the table and the geometry: what of its file the selected X-ray shows, its steps, and what does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.subtraction import frames_of_text, text_of_frames
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, quietly, set_title
from XVRegistrationLib.scene.runs import frame_of
from XVRegistrationLib.scene.xray_source import RUN

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow


class ImageForm:
    """What is changed here is done at once; where that fails the form goes back to what is in use."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._row: XrayRow | None = None
        ui.framesComboBox.activated.connect(self.on_frames)
        ui.frameSlider.valueChanged.connect(self.on_frame)
        ui.subtractCheckBox.toggled.connect(self.on_subtract)
        ui.maskFramesLineEdit.editingFinished.connect(self.on_mask_frames)
        ui.registerRunButton.clicked.connect(self.on_register_run)
        ui.stepsButton.clicked.connect(self.on_steps)
        ui.ignoreButton.clicked.connect(self.on_ignore)
        ui.ignoreNothingButton.clicked.connect(self.on_ignore_nothing)

    def show(self, row: XrayRow | None) -> None:
        """Show the selected X-ray."""
        self._row = row
        self.ui.imageGroupBox.setVisible(row is not None)
        if row is None:
            return
        set_title(self.ui.imageGroupBox, _("Image of {name}").format(name=row.name))
        self._show_frames(row)
        self._show_subtraction(row)
        allow(self.ui.stepsButton, "", _("Show how the image is understood, from the file to what is compared."))
        purpose = _("Put a rectangle on the X-ray whose pixels do not count, such as burned-in text; drag it there.")
        allow(self.ui.ignoreButton, self._session.can_ignore(row.node), purpose)
        obstacle = "" if row.ignored else _("There is no rectangle on this X-ray.")
        allow(
            self.ui.ignoreNothingButton, obstacle, _("Remove the rectangles from this X-ray: all of it counts again.")
        )

    def on_frames(self, index: int = 0) -> None:
        value = chosen(self.ui.framesComboBox)
        self._read_again(frame=int(value) if value.isdecimal() else value)

    def on_frame(self, value: int = 0) -> None:
        row = self._row
        with answering(self._session.say, _("The frame could not be shown.")):
            if row is not None and row.count > 1:
                self._session.show_frame(row.node, int(self.ui.frameSlider.property("value")))

    def on_subtract(self, checked: bool) -> None:
        source = None if self._row is None else self._row.source
        chosen_before = () if source is None else source.mask_frames
        self._read_again(subtract=(checked and chosen_before) or bool(checked))

    def on_mask_frames(self) -> None:
        """Subtract the frames that are named, or with none those that the file names; nothing where that is so already."""
        source = None if self._row is None else self._row.source
        text = str(self.ui.maskFramesLineEdit.property("text")).strip()
        if source is None or text == text_of_frames(source.mask_frames):
            return  # the field was only left
        try:
            named = frames_of_text(text) if text else ()
        except InputError as e:
            self._session.say(str(e))
            self.show(self._row)
            return
        self._read_again(subtract=named)

    def on_register_run(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The frames could not be registered.")):
            if row is not None:
                self._session.register_run(row.node)

    def on_steps(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The steps could not be shown.")):
            if row is not None:
                self._session.show_steps(row.node)

    def on_ignore(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The rectangle could not be added.")):
            if row is not None:
                self._session.show(row.node)
                self._session.ignore_another(row.node)

    def on_ignore_nothing(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The rectangles could not be removed.")):
            if row is not None:
                self._session.ignore(row.node, [])

    def _read_again(self, **how: Any) -> None:
        row = self._row
        with answering(self._session.say, _("The X-ray could not be read anew.")):
            if row is None:
                return
            file = self._session.file_of(row.node) or self._asked_for(row)
            if file:
                self._session.read_again(row.node, file=file, **how)
                return
        self.show(row)  # what is in use: nothing changes

    def _asked_for(self, row: XrayRow) -> str:
        """The file that the user names for an X-ray of a scene, which does not say where it was; empty for none."""
        if self._session.can_read_again(row.node):
            return ""
        title = _("Where is the file of {name}?").format(name=row.name)
        given = qt.QFileDialog.getOpenFileName(self.ui.framesComboBox, title, "", _("All files (*)"))
        # PySide6 also returns the pattern that was chosen.
        return str(given if isinstance(given, str) else given[0])

    def _show_frames(self, row: XrayRow) -> None:
        ui, source = self.ui, row.source
        several = source is not None and source.frames > 1
        for widget in (ui.framesLabel, ui.framesComboBox):
            widget.setVisible(several)
        for widget in (ui.frameSlider, ui.frameLabel):
            widget.setVisible(row.count > 1)
        if several:
            assert source is not None
            fill_choices(ui.framesComboBox, _choices(source.shown), str(source.shown))
            purpose = _("Which of the {count} frames of the file, or what of all of them, is registered.")
            allow(ui.framesComboBox, self._session.can_read_again(row.node), purpose.format(count=source.frames))
        ui.registerRunButton.setVisible(row.count > 1)
        purpose = _("Find the C-arm pose of each frame in turn; each keeps its own.")
        allow(ui.registerRunButton, self._session.can_register_run(row.node), purpose)
        with quietly(ui.frameSlider):
            ui.frameSlider.setRange(0, row.count - 1)
            ui.frameSlider.setValue(row.item)
        number = frame_of(row.node)
        ui.frameLabel.setText(_("frame {number}").format(number=row.item if number is None else number))

    def _show_subtraction(self, row: XrayRow) -> None:
        box, field, source = self.ui.subtractCheckBox, self.ui.maskFramesLineEdit, row.source
        for widget in (box, field):
            widget.setVisible(source is not None and (source.frames > 1 or source.subtractable))
        with quietly(field):
            field.setText("" if source is None else text_of_frames(source.mask_frames))
        field.setPlaceholderText(_("as the file") if source is not None and source.subtractable else _("0 or 0-3"))
        purpose = _(
            "Frames without contrast medium, from 0, whose mean is subtracted from the others: 0, or 0-3, or 0, 2."
        )
        allow(field, self._session.can_read_again(row.node), purpose)
        with quietly(box):
            box.setChecked(source is not None and source.subtracted)
        purpose = _(
            "Digital subtraction: less the mask frames that the file names, or that you name beside, so that contrast medium is left."
        )
        allow(box, self._session.can_subtract(row.node), purpose)


def _choices(shown: int | str) -> list[tuple[str, str]]:
    choices = [
        (_("Each frame, one at a time"), RUN),
        (_("Least radiation over time (min)"), "min"),
        (_("Most radiation over time (max)"), "max"),
        (_("Mean over time"), "mean"),
    ]
    if isinstance(shown, int):
        choices.append((_("Frame {number} alone").format(number=shown), str(shown)))
    return choices
