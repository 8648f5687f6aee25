"""An X-ray's geometry as attributes of its volume node, readable in Slicer and exact when read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from XVRegistrationLib.imaging.xray import Scale

PREFIX = "XVRegistration."
_ORIGIN = PREFIX + "Origin."
_MISSING = PREFIX + "Missing"
_NOTES = PREFIX + "Notes"
# Field of an X-ray's geometry -> the attribute that holds it.
_KEYS = {
    "sdd": "SDD",
    "spacing": "PixelSpacing",
    "principal_point": "PrincipalPoint",
    "size": "Size",
    "mirrored": "Mirrored",
    "primary_angle": "PrimaryAngle",
    "secondary_angle": "SecondaryAngle",
    "rotation": "Rotation",
    "sod": "SOD",
}


def write_attributes(node: Any, intrinsics: Intrinsics, scale: Scale, origins: Mapping[str, str]) -> None:
    """Store geometry, scale of the grey values and where the geometry came from on a node; nothing is missing then."""
    write_known(node, intrinsics.to_dict(), origins, [], scale)


def write_known(
    node: Any, known: Mapping[str, Any], origins: Mapping[str, str], missing: Iterable[str], scale: Scale
) -> None:
    """Store what is known of an X-ray's geometry on a node, and the names of what is not.

    `known` has fields of `Intrinsics`, and `primary_angle`, `secondary_angle`, `rotation`, degrees, `sod`, mm; None is unknown.
    """
    was_modifying = node.StartModify()
    for field, value in known.items():
        if field in _KEYS and value is not None:
            node.SetAttribute(PREFIX + _KEYS[field], _text(value))
    for field, origin in origins.items():
        node.SetAttribute(_ORIGIN + field, origin)
    node.SetAttribute(PREFIX + "Scale", scale)
    # An empty value would not be told from no value when the scene is read back.
    node.SetAttribute(_MISSING, " ".join(missing) or None)
    node.EndModify(was_modifying)


def read_known(node: Any) -> dict[str, Any]:
    """What is known of an X-ray's geometry: the fields of `write_known` that the node has, sound ones only."""
    found: dict[str, Any] = {}
    for field, key in _KEYS.items():
        text = node.GetAttribute(PREFIX + key)
        if text is None:
            continue
        try:
            found[field] = _value(field, text)
        except (IndexError, ValueError):
            continue
    return found


def write_notes(node: Any, notes: Iterable[str]) -> None:
    """Store what the X-ray's file leaves to say of its geometry, in sentences."""
    node.SetAttribute(_NOTES, "\n".join(notes) or None)


def read_notes(node: Any) -> tuple[str, ...]:
    """The sentences of `write_notes`."""
    return tuple((node.GetAttribute(_NOTES) or "").splitlines())


def read_missing(node: Any) -> list[str]:
    """Names of the fields that somebody still has to enter before the X-ray can be registered."""
    return (node.GetAttribute(_MISSING) or "").split()


def read_intrinsics(node: Any) -> Intrinsics:
    """Geometry of an X-ray's volume node; InputError if the node has none, a damaged one, or only a part of it."""
    known = read_known(node)
    fields = ("sdd", "spacing", "principal_point", "size", "mirrored")
    if read_missing(node) or not all(field in known for field in fields):
        raise InputError(
            f"The volume {node.GetName()} has no valid X-ray geometry (attributes {PREFIX}*); "
            "choose an X-ray that was added by XVRegistration, or enter its geometry."
        )
    return Intrinsics(*(known[field] for field in fields))


def read_origins(node: Any) -> dict[str, str]:
    """Field of the geometry -> where its value came from, as far as known."""
    names = [name for name in node.GetAttributeNames() if name.startswith(_ORIGIN)]
    return {name.removeprefix(_ORIGIN): node.GetAttribute(name) for name in names}


def read_scale(node: Any) -> Scale:
    """Scale of the grey values, "intensity" or "attenuation"."""
    return "attenuation" if node.GetAttribute(PREFIX + "Scale") == "attenuation" else "intensity"


def _text(value: Any) -> str:
    """repr of a float is the shortest text that reads back as the same float."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return " ".join(_text(v) for v in value)
    return str(value) if isinstance(value, int) else repr(float(value))


def _value(field: str, text: str) -> Any:
    if field == "mirrored":
        return text == "true"
    words = text.split()
    if field == "size":
        return int(words[0]), int(words[1])
    if field in ("spacing", "principal_point"):
        return float(words[0]), float(words[1])
    return float(words[0])
