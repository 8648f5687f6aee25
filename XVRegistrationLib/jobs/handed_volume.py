"""The volume that a Slicer session hands over: voxels in a file, and what the user says that their values are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.describe import Description, describe, doubts
from XVRegistrationLib.imaging.segmentation import of_label_map
from XVRegistrationLib.imaging.volume import LabelMap, Volume, with_air
from XVRegistrationLib.imaging.volumes.densities import densities_of_text, pseudo_ct
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import checked_vessels, usual_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.describe import Kind


_AS_THEY_ARE = {"ct": Reading(), "hu": Reading(believed=True), "attenuation": Reading("1/mm")}


@dataclass(frozen=True, eq=False)
class Handed:
    """A volume in HU or 1/mm, and where its voxels are as it has them."""

    volume: Volume
    description: Description
    file: str
    """.npy (K, J, I)."""
    window: tuple[float, float] | None = None
    """Of vessels: the one that was given, or else a usual one."""


def handed_volume(fields: dict[str, Any]) -> Handed:
    """The volume of the voxels in `volume_file` (.npy, K, J, I) with `ijk_to_ras` and `name`, by what `values` says they are.

    "ct" (as without it): Hounsfield units if they look like it; "hu": these, whatever they look like; "attenuation": 1/mm;
    "vessels": an angiogram with the `window` of its vessels, or a usual one; "structures": the densities of the structures
    in `labels_file` (.npy, the same grid), `label_names` being pairs of value and name, by a table `densities` (JSON, HU by
    name) or the one that comes along. Voxels with the value
    `background`, if there is one, were not scanned and are air. What is not the voxels as they are is written to
    `meant_file`. Raises InputError for values that cannot be what they are said to be.
    """
    file, name = fields["volume_file"], str(fields["name"])
    array, matrix = voxels_in(file), np.array(fields["ijk_to_ras"], dtype=np.float64)
    values, background = fields.get("values") or "ct", fields.get("background")
    if values == "vessels":
        return _vessels(array, matrix, name, fields)
    if values == "structures":
        return _structures(array, matrix, name, fields)
    if values not in _AS_THEY_ARE:
        raise InputError(f"A volume's values are ct, hu, attenuation, vessels or structures, not {values!r}.")
    reading = dataclasses.replace(_AS_THEY_ARE[values], background=background)
    if background is not None:
        file = _kept(with_air(np.array(array), background, reading.units), fields["meant_file"])
    found = Volume(
        voxels_in(file), matrix, name, units=reading.units, reading=None if reading == Reading() else reading
    )
    handed = _believed(found, file) if reading.believed else Handed(found, describe(found), file)
    return handed if background is None else _with_share(handed, array, background)


def voxels_in(file: str) -> NDArray[Any]:
    """The array (K, J, I) of a .npy file, read as it is needed."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise InputError(f"The voxels in {file} cannot be read: {e}") from e
    if array.dtype.kind not in "iuf":
        raise InputError(f"The voxels in {file} are {array.dtype}, not numbers.")
    return array


def _with_share(handed: Handed, array: NDArray[Any], background: float) -> Handed:
    """The same with how many of the voxels (K, J, I) were not scanned, which shows a value that was mistyped."""
    share = np.count_nonzero(array == background) / array.size
    said = (
        f"{share:.1%} of its voxels have {background:g} and are air."
        if share
        else f"None of its voxels has {background:g}."
    )
    sentence = f"{handed.description.sentence} {said}"
    return dataclasses.replace(handed, description=dataclasses.replace(handed.description, sentence=sentence))


def _believed(volume: Volume, file: str) -> Handed:
    found = describe(volume)
    low, high = found.value_range
    if low == high:
        return Handed(volume, found, file)
    return Handed(volume, _said("CT", volume, f"Hounsfield units from {low:.0f} to {high:.0f}, as you say."), file)


def _vessels(array: NDArray[Any], matrix: NDArray[np.float64], name: str, fields: dict[str, Any]) -> Handed:
    given, background = fields.get("window"), fields.get("background")
    scanned = array if background is None else array[array != background]
    window = usual_window(scanned) if given is None else (float(given[0]), float(given[1]))
    reading = Reading(background=background, vessels=window)  # checks the window
    if background is not None:
        array = with_air(np.array(array), background)
    attenuation, share = checked_vessels(array, window, name)
    file = _kept(attenuation, fields["meant_file"])
    volume = Volume(voxels_in(file), matrix, name, units="1/mm", reading=reading)
    said = f"Vessels with values from {window[0]:g} to {window[1]:g}: {share}"
    return Handed(volume, _said("vessels", volume, said), file, window)


def _structures(array: NDArray[Any], matrix: NDArray[np.float64], name: str, fields: dict[str, Any]) -> Handed:
    names = {int(value): str(label) for value, label in fields["label_names"]}
    labels = LabelMap(voxels_in(fields["labels_file"]), matrix, names)
    own = fields.get("densities")
    table = densities_of_text(own, "What is said of densities") if own else None
    file = _kept(pseudo_ct(of_label_map(labels), array.shape, matrix, table), fields["meant_file"])
    volume = Volume(voxels_in(file), matrix, name)
    said = f"Densities of {len(names)} structures{', by a table of your own' if own else ''}."
    return Handed(volume, _said("densities", volume, said), file)


def _said(kind: Kind, volume: Volume, sentence: str) -> Description:
    """What a volume is because its user says so."""
    value_range = float(np.nanmin(volume.array)), float(np.nanmax(volume.array))
    return Description(kind, value_range, True, " ".join([sentence, *doubts(volume)]))


def _kept(array: NDArray[Any], file: str) -> str:
    """The file, with the array in it: what goes on in another process reads it there."""
    try:
        with replacing(file) as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
    except OSError as e:
        raise InputError(f"{Path(file).parent} cannot take {array.nbytes / 1e6:.0f} MB: {e.strerror or e}.") from e
    return file
