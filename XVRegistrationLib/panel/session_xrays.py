"""What a session does with X-rays until they are registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.session_life import SessionLife

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from XVRegistrationLib.panel.dicom_source import Frame
    from XVRegistrationLib.panel.views import StepsView, XrayRow
    from XVRegistrationLib.scene.ignored import Rectangle


class XraySession(SessionLife):
    """The X-rays of a session: adding them, what of their files they show, their geometry, and what counts."""

    def rows(self) -> list[XrayRow]:
        """The X-rays of the present volume, and those that belong to none yet, in the order in which they were added."""
        return self._registering.rows()

    def add_files(
        self, paths: Iterable[str | Path], frame: Frame | None = None, *, subtract: bool | Sequence[int] | None = None
    ) -> None:
        """Read X-ray files and add each to the scene; what cannot be read is said in `status`, and the others go on.

        Of a run, `frame` is the one to add, counted from 0, or "min", "max" or "mean" over all; without it the run is
        added with all its frames, of which the one shown is the X-ray. `subtract` subtracts the mask frames that a DICOM
        run names, or those (from 0) that it lists itself, which leaves the contrast medium; without it that is done where the
        volume is vessels and the file names some.
        """
        self._adding.add_files([Path(p).absolute() for p in paths], frame, subtract)

    def add_nodes(self, nodes: Iterable[Any], frame: Frame | None = None) -> None:
        """Add copies of volume nodes of the scene; what came from DICOM is read anew from its file.

        Of a sequence the frame that is shown is added, of a run that was loaded as a volume all frames, if `frame` does
        not say otherwise: as in `add_files`, or "run" for all frames of a sequence.
        """
        self._adding.add_nodes(list(nodes), frame)

    def read_again(
        self,
        node: Any,
        *,
        frame: Frame | None = None,
        subtract: bool | Sequence[int] | None = None,
        file: str | Path | None = None,
    ) -> None:
        """Show another frame of an X-ray's file, counted from 0, "min", "max" or "mean" over all, or "run" for all of them,
        subtracted or not; what is None stays as it is. The X-ray keeps its place and loses its registrations.

        `subtract` may list the mask frames, from 0; True are those that the file names, or that were listed before where it
        names none, and an empty list is those that it names, if it does.

        `file` says where it is, after its scene was loaded. Raises InputError where the file is not known or names no mask.
        """
        self._images.read_again(node, frame, subtract, None if file is None else Path(file).absolute())

    def file_of(self, node: Any) -> Path | None:
        """The file of an X-ray, where that is known and still there."""
        return self._xrays.files.of(node)

    def show_steps(self, node: Any) -> None:
        """Make the pictures of what is done to an X-ray before it is compared; `steps` has them as soon as they are there."""
        self._images.show_steps(node)

    @property
    def steps(self) -> StepsView | None:
        """What `show_steps` was asked for last: as stored, as understood, as line integrals, and what of it counts."""
        return self._images.steps

    def ignore(self, node: Any, rectangles: Sequence[Sequence[float]]) -> None:
        """Let these rectangles of an X-ray, (column, row, width, height) in px as stored, not count, and no others.

        They are regions of interest in the scene, which can be dragged in the X-ray's view.
        """
        self._images.ignore(node, rectangles)

    def ignore_another(self, node: Any) -> None:
        """Put one more rectangle into the middle of an X-ray, for the user to drag where it belongs."""
        self._images.ignore_another(node)

    def ignored(self, node: Any) -> list[Rectangle]:
        """The rectangles of an X-ray that do not count, where they are now."""
        return self._images.ignored(node)

    def show_frame(self, node: Any, item: int) -> None:
        """Show this frame of a run, counted from 0: from now on it is the one that is registered and drawn on."""
        self._xrays.show_frame(node, item)

    def candidates(self) -> list[Any]:
        """Volume nodes of the scene that `add_nodes` could take."""
        return self._adding.candidates()

    def set_checked(self, node: Any, checked: bool) -> None:
        """Whether `register` takes this X-ray; kept in the scene."""
        self._xrays.set_checked(node, checked)

    def remove(self, node: Any) -> None:
        """Remove an X-ray and everything that belongs to it from the scene."""
        self._registering.remove(node)

    def complete_geometry(
        self,
        node: Any,
        *,
        sdd: float | None = None,
        spacing: tuple[float, float] | None = None,
        mirrored: bool | None = None,
        dense_is_bright: bool | None = None,
    ) -> None:
        """Set how an X-ray was taken (distance source-detector and spacing in mm); what is None stays as it is.

        Also corrects an X-ray that is complete. As soon as nothing is missing the X-ray is placed in the scene.
        """
        self._geometry.complete(node, sdd, spacing, mirrored, dense_is_bright)

    def c_arms(self) -> list[tuple[str, str]]:
        """Name and title of each C-arm that `complete_by_c_arm` knows."""
        return self._geometry.c_arms()

    def complete_by_c_arm(self, node: Any, name: str) -> None:
        """Take what an X-ray's file lacks from what is published of a C-arm: distances, and the spacing of a whole image."""
        self._geometry.by_c_arm(node, name)

    def complete_by_calibration(
        self, node: Any, file: str | Path, *, undistorted: bool = False, unit: float = 1.0
    ) -> None:
        """Take the camera of a MayaCam 1, MayaCam 2 or OpenCV file, whose unit has so many mm.

        A file with lens distortion is refused unless the images are said to be `undistorted` already.
        """
        self._geometry.by_calibration(node, Path(file).absolute(), undistorted, unit)

    # Why a button is disabled: a sentence for its tooltip, "" if it is enabled

    def can_add_xrays(self) -> str:
        return self._adding.can_add()

    def can_read_again(self, node: Any) -> str:
        return self._images.can_read_again(node)

    def can_subtract(self, node: Any) -> str:
        return self._images.can_subtract(node)

    def can_ignore(self, node: Any) -> str:
        return self._images.can_ignore(node)
