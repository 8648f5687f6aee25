"""What the user says that the volume's values are: as it stands in the parameters, and as the engine is told."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import PatientView
from XVRegistrationLib.scene.handover import PREFIX, write_array
from XVRegistrationLib.scene.label_maps import content_of, label_map_of

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.panel.context import Context

CT, HU, VESSELS, STRUCTURES, ATTENUATION = KINDS = ("ct", "hu", "vessels", "structures", "attenuation")
"""A CT, if it looks like one; Hounsfield units whatever they look like; an angiogram with a window of values for its vessels;
the densities of the segmentation's structures, as for MR; linear attenuation in 1/mm."""


class VolumeValues:
    """Reads the parameters, and hands over what belongs to them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def kind(self) -> str:
        """Of KINDS, or what a script has put there instead."""
        p = self._context.parameters
        return CT if p is None else p.volumeValues or CT

    @property
    def window(self) -> tuple[float, float] | None:
        """Of the vessels; None where none was said."""
        p = self._context.parameters
        low, high = float(p.vesselsLow), float(p.vesselsHigh)
        return None if low == high == 0 else (low, high)

    @property
    def background(self) -> float | None:
        """Value of what was not scanned; None where there is none, and where the values do not count."""
        p = self._context.parameters
        return float(p.notScanned) if p is not None and p.useNotScanned and self.kind != STRUCTURES else None

    def said(self) -> tuple[Any, ...]:
        """All that counts of what was said, to be compared with what it was before; the kind comes first."""
        kind = self.kind
        if kind == VESSELS:
            return kind, self.background, self.window
        if kind == STRUCTURES:
            node = self._segmentation()
            return kind, node, None if node is None else content_of(node), self._context.parameters.densities
        return kind, self.background

    def request(self, volume_node: Any, folder: Path) -> dict[str, Any]:
        """Fields of the engine's `describe_volume`, with files in `folder` where they are needed.

        Raises InputError for what is missing, or contradicts itself.
        """
        kind = self.kind
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise InputError(_("A volume's values are one of {known}, not {kind}.").format(known=known, kind=kind))
        fields: dict[str, Any] = {"values": kind, "background": self.background}
        if kind in (VESSELS, STRUCTURES) or self.background is not None:
            fields["meant_file"] = str(folder / f"{PREFIX}{uuid.uuid4().hex}.npy")
        if kind == VESSELS:
            fields["window"] = self._checked_window()
        if kind == STRUCTURES:
            fields |= self._structures(volume_node, folder)
        return fields

    def take_window(self, window: Any) -> None:
        """Put the window that the engine used into the parameters, where none was said."""
        if self.kind == VESSELS and window is not None and self.window is None:
            p = self._context.parameters
            p.vesselsLow, p.vesselsHigh = (float(value) for value in window)

    def _checked_window(self) -> list[float] | None:
        window = self.window
        if window is not None and not window[0] < window[1]:
            low, high = (f"{value:g}" for value in window)
            raise InputError(
                _(
                    "The window of the vessels must rise: {low} for no vessel is not below {high} for a full one."
                ).format(low=low, high=high)
            )
        return None if window is None else list(window)

    def _structures(self, volume_node: Any, folder: Path) -> dict[str, Any]:
        node = self._segmentation()
        if node is None:
            raise InputError(_("Choose the segmentation: the volume's densities are those of its structures."))
        array, _matrix, labels = label_map_of(node, volume_node)
        names = [[value, name] for value, (name, _color) in labels.items()]
        table = self._context.parameters.densities
        return {"labels_file": str(write_array(array, folder)), "label_names": names, "densities": table}

    def _segmentation(self) -> Any:
        p = self._context.parameters
        node = None if p is None else p.segmentation
        return node if alive(self._context.scene, node) else None


def view_of(name: str, fields: dict[str, Any], kind: str) -> PatientView:
    """What the engine found of a volume that is said to be of this kind; `fields` are its answer."""
    width, depth, height = (f"{float(n):.0f}" for n in fields["field_of_view_mm"])
    voxel = " x ".join(f"{float(s):.2f}" for s in fields["spacing"])
    ok, check = bool(fields["ok"]), str(fields["check"])
    asks = not ok and kind == CT
    if asks:
        check = _("{check} Say in the section Patient what its values are.").format(check=check)
    return PatientView(
        name=name,
        kind="" if fields["kind"] == "unknown" else str(fields["kind"]),
        size_text=_("{size} mm, voxels {voxel} mm").format(size=f"{width} x {depth} x {height}", voxel=voxel),
        check=check if ok else "",
        ok=ok,
        problem="" if ok else check,
        asks=asks,
    )
