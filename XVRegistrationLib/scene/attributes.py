"""An X-ray's geometry as attributes of its volume node, readable in Slicer and exact when read back."""

from __future__ import annotations

from typing import Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics

PREFIX = "XVRegistration."
_ORIGIN = PREFIX + "Origin."


def write_attributes(node: Any, intrinsics: Intrinsics, scale: str, origins: dict[str, str]) -> None:
    """Store geometry, scale of the grey values and where the geometry came from on a node."""
    values = {
        "SDD": repr(float(intrinsics.sdd)),
        "PixelSpacing": _join(intrinsics.spacing),
        "PrincipalPoint": _join(intrinsics.principal_point),
        "Size": f"{intrinsics.size[0]} {intrinsics.size[1]}",
        "Mirrored": str(bool(intrinsics.mirrored)).lower(),
        "Scale": scale,
    }
    for key, value in values.items():
        node.SetAttribute(PREFIX + key, value)
    for field, origin in origins.items():
        node.SetAttribute(_ORIGIN + field, origin)


def read_intrinsics(node: Any) -> Intrinsics:
    """Geometry of an X-ray's volume node; InputError if the node has none, or a damaged one."""
    try:
        sdd, spacing, point, size, mirrored = (
            node.GetAttribute(PREFIX + key).split()
            for key in ("SDD", "PixelSpacing", "PrincipalPoint", "Size", "Mirrored")
        )
        return Intrinsics(
            float(sdd[0]),
            (float(spacing[0]), float(spacing[1])),
            (float(point[0]), float(point[1])),
            (int(size[0]), int(size[1])),
            mirrored[0] == "true",
        )
    except (AttributeError, IndexError, ValueError) as e:
        raise InputError(
            f"The volume {node.GetName()} has no valid X-ray geometry (attributes {PREFIX}*); "
            "choose an X-ray that was added by XVRegistration, or enter its geometry."
        ) from e


def read_origins(node: Any) -> dict[str, str]:
    """Field of `Intrinsics` -> where its value came from, as far as known."""
    names = [name for name in node.GetAttributeNames() if name.startswith(_ORIGIN)]
    return {name.removeprefix(_ORIGIN): node.GetAttribute(name) for name in names}


def read_scale(node: Any) -> str:
    """Scale of the grey values, "intensity" or "attenuation"."""
    return "attenuation" if node.GetAttribute(PREFIX + "Scale") == "attenuation" else "intensity"


def _join(pair: tuple[float, float]) -> str:
    """repr of a float is the shortest text that reads back as the same float."""
    return " ".join(repr(float(v)) for v in pair)
