"""Networks from their settings, and settings from the card of a model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.networks.attention import AttentionNetwork
from XVRegistrationLib.networks.places import PlacesNetwork
from XVRegistrationLib.networks.settings import ATTENTION, NetworkSettings
from XVRegistrationLib.networks.xvr_network import XVR, XvrNetwork, XvrSettings

if TYPE_CHECKING:
    from XVRegistrationLib.networks.pose_network import PoseNetwork


def create_network(settings: NetworkSettings | XvrSettings) -> PoseNetwork:
    """A network of these settings, with random weights; InputError for settings that nothing can be made of."""
    if isinstance(settings, XvrSettings):
        return XvrNetwork(settings)
    return AttentionNetwork(settings) if settings.architecture == ATTENTION else PlacesNetwork(settings)


def settings_of_card(described: dict[str, Any]) -> NetworkSettings | XvrSettings:
    """The settings that a card keeps; what an older card does not know of is as it was then.

    Raises InputError for a card of a later version, or a damaged one.
    """
    kind = XvrSettings if described.get("architecture") == XVR else NetworkSettings
    unknown = sorted(described.keys() - {f.name for f in dataclasses.fields(kind)})
    if unknown:
        raise InputError(f"The model's network has settings that this version does not know: {', '.join(unknown)}.")
    try:
        return kind(**described)
    except TypeError as e:
        raise InputError(f"The card of the model's network is damaged ({e}); train the model again.") from e
