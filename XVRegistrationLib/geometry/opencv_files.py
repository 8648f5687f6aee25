"""Cameras in OpenCV's FileStorage, YAML and JSON: camera matrix, distortion, rotation, translation, image size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera, checked, extrinsic
from XVRegistrationLib.geometry.rigid import rotation_from_vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# What programs, OpenCV's own samples among them, call the things; in lower case.
_CAMERA = ("camera_matrix", "cameramatrix", "k", "intrinsic", "intrinsics", "intrinsic_matrix", "m")
_DISTORTION = ("distortion_coefficients", "distcoeffs", "dist_coeffs", "dist", "distortion", "d")
_ROTATION = ("r", "rotation", "rotation_matrix", "rvec")
_TRANSLATION = ("t", "translation", "translation_vector", "tvec")
_SIZE = ("image_size", "imagesize", "size", "resolution")


def parse_opencv(
    text: str, where: str, size: tuple[int, int] | None = None, undistorted: bool = False
) -> CalibratedCamera:
    """The camera of a FileStorage's text (or of plain JSON with nested lists); `where` names it in the InputError.

    `size` is used where the file has none. Distortion other than zero is refused unless the images are `undistorted`.
    """
    content = {str(name).lower(): value for name, value in _content(text, where).items()}
    k = _matrix(content, _CAMERA, 9, where)
    if k is None:
        raise InputError(f"{where} holds no camera matrix (camera_matrix or K, 3x3).")
    bent = _matrix(content, _DISTORTION, None, where)
    if bent is not None and not undistorted and (not np.isfinite(bent).all() or (bent != 0).any()):
        raise InputError(
            f"{where} has lens distortion, which X-rays in a straight line do not: undistort the images and say so.",
            give=("undistorted",),
        )
    found = _size(content, where) or size
    if found is None:
        raise InputError(f"{where} does not state the image's size (image_width and image_height).")
    camera = CalibratedCamera(found, k.reshape(3, 3), _placed(content, where))
    return checked(camera, where)


def format_opencv(camera: CalibratedCamera, *, as_json: bool) -> str:
    """Text of a FileStorage that OpenCV reads."""
    entries: dict[str, Any] = {"image_width": camera.size[0], "image_height": camera.size[1]}
    entries["camera_matrix"] = camera.intrinsic
    entries["distortion_coefficients"] = np.zeros((1, 5))
    if camera.extrinsic is not None:
        entries["R"], entries["t"] = camera.extrinsic[:3, :3], camera.extrinsic[:3, 3:]
    if as_json:
        return json.dumps({name: _as_json(value) for name, value in entries.items()}, indent=2) + "\n"
    return "%YAML:1.0\n---\n" + "".join(_as_yaml(name, value) for name, value in entries.items())


def _as_json(value: Any) -> Any:
    if isinstance(value, int):
        return value
    rows, columns = value.shape
    data = [float(v) for v in value.ravel()]
    return {"type_id": "opencv-matrix", "rows": rows, "cols": columns, "dt": "d", "data": data}


def _as_yaml(name: str, value: Any) -> str:
    if isinstance(value, int):
        return f"{name}: {value}\n"
    rows, columns = value.shape
    data = ", ".join(repr(float(v)) for v in value.ravel())
    return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {data} ]\n"


def _content(text: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{where} is neither YAML nor JSON as OpenCV writes it.") from e
    if not isinstance(found, dict):
        raise InputError(f"{where} holds no named values.")
    return found


def _yaml(text: str) -> Any:
    """The content of a YAML text; ValueError for one that is damaged, or that refers to itself."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads OpenCV's matrices as mappings, and no aliases: a few lines of them unfold without end."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise ValueError("aliases are not read")
            return super().compose_node(parent, index)

    for tag in ("opencv-matrix", "opencv-nd-matrix"):
        Loader.add_constructor(
            f"tag:yaml.org,2002:{tag}", lambda loader, node: loader.construct_mapping(node, deep=True)
        )
    lines = text.splitlines()
    if lines and lines[0].startswith("%YAML"):  # OpenCV's "%YAML:1.0" is no directive of YAML
        lines = lines[1:]
    try:
        return yaml.load("\n".join(lines), Loader)  # a SafeLoader
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


def _matrix(
    content: Mapping[str, Any], names: tuple[str, ...], count: int | None, where: str
) -> NDArray[np.float64] | None:
    """The numbers of the first of some entries that is there, flat; InputError where they are no, or too few, numbers."""
    name = next((n for n in names if content.get(n) is not None), None)
    if name is None:
        return None
    value = content[name]
    try:
        data = value["data"] if isinstance(value, dict) else value
        flat = np.array([_number(v) for v in np.ravel(np.array(data, dtype=object))])
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"{where}: {name} is not a matrix of numbers.") from e
    if count is not None and flat.size != count:
        raise InputError(f"{where}: {name} holds {flat.size} numbers where {count} are needed.")
    return flat


def _number(value: Any) -> float:
    """A number, also one that OpenCV writes as .Nan or -.Inf."""
    return float(value.replace(".Nan", "nan").replace(".Inf", "inf") if isinstance(value, str) else value)


def _placed(content: Mapping[str, Any], where: str) -> NDArray[np.float64] | None:
    rotation, shift = _matrix(content, _ROTATION, None, where), _matrix(content, _TRANSLATION, 3, where)
    if rotation is None and shift is None:
        return None
    if rotation is None or shift is None or rotation.size not in (3, 9):
        raise InputError(f"{where} must hold a rotation (R, 3x3, or rvec) and a translation (t), or neither.")
    turned = rotation.reshape(3, 3) if rotation.size == 9 else rotation_from_vector(rotation)
    return extrinsic(turned, shift)


def _size(content: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    pair = [content.get("image_width"), content.get("image_height")]
    if None in pair:
        flat = _matrix(content, _SIZE, 2, where)
        if flat is None:
            return None
        pair = [*flat]
    try:
        width, height = (float(v) for v in pair)  # type: ignore[arg-type]
        return int(width), int(height)
    except (TypeError, ValueError, OverflowError) as e:
        raise InputError(f"{where}: the image's size is not two numbers.") from e
