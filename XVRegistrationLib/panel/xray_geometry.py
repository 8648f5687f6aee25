"""Completing the geometry of X-rays: by hand, by what is published of a C-arm, or by a calibration file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.c_arms import c_arm, c_arms
from XVRegistrationLib.geometry.calibrations import camera_of, read_calibration
from XVRegistrationLib.imaging.completed import with_c_arm, with_calibration
from XVRegistrationLib.imaging.partial import PartialXray, seen_as
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.attributes import (
    read_known,
    read_missing,
    read_notes,
    read_origins,
    read_scale,
    write_known,
    write_notes,
)
from XVRegistrationLib.scene.ignored import rectangles_of, set_rectangles
from XVRegistrationLib.scene.pairs import keep_calibrated_pose
from XVRegistrationLib.scene.placing import missing_of, place
from XVRegistrationLib.scene.runs import frame_nodes
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.xray import Scale
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.xrays import Xrays

    Known = tuple[Mapping[str, Any], Mapping[str, str]]
    """What is known of a frame's geometry, and where each value came from."""


class XrayGeometry:
    """What the user says of how X-rays were taken; it is of all frames of a run."""

    def __init__(self, context: Context, xrays: Xrays) -> None:
        self._context = context
        self._xrays = xrays

    def c_arms(self) -> list[tuple[str, str]]:
        """Name and title of each C-arm of which something is published."""
        return [(arm.name, arm.title) for arm in c_arms().values()]

    def complete(
        self,
        node: Any,
        sdd: float | None,
        spacing: tuple[float, float] | None,
        mirrored: bool | None,
        dense_is_bright: bool | None,
    ) -> None:
        for given, least, most, what in (
            (sdd, 100.0, 5000.0, _("The distance source-detector")),
            (None if spacing is None else spacing[0], 0.01, 10.0, _("The distance between columns")),
            (None if spacing is None else spacing[1], 0.01, 10.0, _("The distance between rows")),
        ):
            if given is not None and not least <= given <= most:
                raise InputError(
                    _("{what} must lie between {least} and {most} mm.").format(what=what, least=least, most=most)
                )
        values = {"sdd": sdd, "spacing": spacing, "mirrored": mirrored}
        changed = {field: value for field, value in values.items() if value is not None}
        scale: Scale | None = None
        if dense_is_bright is not None:
            scale = "attenuation" if dense_is_bright else "intensity"
        entered = dict.fromkeys([*changed, *(["scale"] if scale else [])], "user")

        def say(frame: Any) -> Known:
            known = read_known(frame)
            known = {**(known if mirrored is None else seen_as(known, mirrored)), **changed}
            return known, {**read_origins(frame), **entered}

        self._change(node, say, scale)

    def by_c_arm(self, node: Any, name: str) -> None:
        """Give an X-ray what its file lacks and the C-arm of this name has."""
        arm = c_arm(name)
        self._take(node, lambda parts: with_c_arm(parts, arm))
        said = _("{name}: {title}.").format(name=name_of(node), title=arm.title)
        words = {"sdd": _("the distance source-detector"), "spacing": _("the pixel spacing")}
        lacking = _(" and ").join(words[field] for field in read_missing(node))
        if lacking:
            said += _(" That does not say {what} of such an image; enter it.").format(what=lacking)
        self._context.say(said)

    def by_calibration(self, node: Any, file: Path, undistorted: bool, unit: float) -> None:
        """Give an X-ray the camera of a MayaCam or OpenCV file."""
        self._check(node)
        height, width = voxels(node).shape[1:]
        camera = read_calibration(file, size=(width, height), undistorted=undistorted, unit=unit)
        self._take(node, lambda parts: with_calibration(parts, camera))
        for frame in frame_nodes(node):
            keep_calibrated_pose(frame, None if camera.extrinsic is None else camera_of(camera)[1])
        self._context.say(_("{name} has the camera of its calibration.").format(name=name_of(node)))

    def estimated(self, node: Any, intrinsics: Intrinsics) -> None:
        """Give the frame that an X-ray shows the camera that a registration has estimated."""

        def say(frame: Any) -> Known:
            known, origins = read_known(frame), read_origins(frame)
            if frame is not node:
                return known, origins
            return {**known, **intrinsics.to_dict()}, {**origins, "sdd": "estimated", "principal_point": "estimated"}

        self._change(node, say, None)

    def _take(self, node: Any, complete: Callable[[PartialXray], PartialXray]) -> None:
        """Complete each frame of an X-ray as if it were read anew."""

        def say(frame: Any) -> Known:
            found = complete(_parts_of(frame, name_of(node)))
            write_notes(frame, dict.fromkeys(found.notes))
            return {**read_known(frame), **found.known}, found.origins

        self._change(node, say, None)

    def _change(self, node: Any, say: Callable[[Any], Known], scale: Scale | None) -> None:
        """Write what is said of each frame of an X-ray, and put it in its place as soon as nothing is missing."""
        self._check(node)
        missing: list[str] = []
        rectangles = rectangles_of(node)
        for frame in frame_nodes(node):
            known, origins = say(frame)
            missing = missing_of(dict(known))
            write_known(frame, known, origins, missing, read_scale(frame))
        if not missing:
            place(self._context.scene, node, self._xrays.first_pose, scale)
            if rectangles:  # of pixels, wherever these now are
                set_rectangles(node, rectangles)
        elif scale is not None:
            for frame in frame_nodes(node):
                write_known(frame, {}, {}, missing, scale)
        self._context.changed.emit("xrays")

    def _check(self, node: Any) -> None:
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))


def _parts_of(frame: Any, name: str) -> PartialXray:
    """A frame of the scene as it would be read from its file."""
    known = read_known(frame)
    names = ("sdd", "spacing", "principal_point", "primary_angle", "secondary_angle", "sod")
    stated: dict[str, Any] = {name: known.get(name) for name in names}
    return PartialXray(
        name=name,
        pixels=voxels(frame)[0],
        scale=read_scale(frame),
        path=name,
        mirrored=bool(known.get("mirrored")),
        **stated,
        rotation=None if known.get("rotation") is None else int(known["rotation"]),
        origins=read_origins(frame),
        absent=dict.fromkeys(missing_of(known), ""),
        notes=read_notes(frame),
    )
