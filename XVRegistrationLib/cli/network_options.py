"""What the command line says of the network that is to be trained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.networks.settings import DEFAULT, NORMALIZATIONS, PSSS, ROTATIONS, NetworkSettings, network_named

if TYPE_CHECKING:
    import argparse


def add_network(p: argparse.ArgumentParser, usual: NetworkSettings) -> None:
    """The architecture and what it is made of."""
    group = p.add_argument_group("the network", "Without these it is the one that has been found to learn fastest.")
    group.add_argument(
        "--network",
        metavar="NAME",
        help=f"{DEFAULT}; {PSSS} (EfficientNet-b0 with attention, Zhang et al. 2023); or a convolutional model of timm in the "
        "place of the usual one",
    )
    group.add_argument("--pixels", type=int, metavar="N", help=f"side of its input (default: {usual.pixels})")
    group.add_argument(
        "--normalization", choices=NORMALIZATIONS, default=None, help=f"over what (default: {usual.normalization})"
    )
    group.add_argument(
        "--parameterization", choices=ROTATIONS, default=None, help=f"of rotations (default: {usual.rotation})"
    )


def network_from(options: argparse.Namespace, usual: NetworkSettings) -> NetworkSettings | None:
    """What the options say, made once to see whether that can be; None where they say nothing."""
    asked: dict[str, Any] = {
        "pixels": options.pixels,
        "normalization": options.normalization,
        "rotation": options.parameterization,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    if options.network is None and not changes:
        return None
    settings = dataclasses.replace(network_named(options.network or DEFAULT, usual), **changes)
    from XVRegistrationLib.networks.create import create_network

    create_network(settings)
    return settings


def words_of(options: argparse.Namespace) -> list[str]:
    """The options again, as they are typed."""
    names = ("network", "pixels", "normalization", "parameterization")
    given = [(name, getattr(options, name)) for name in names]
    return [word for name, value in given if value is not None for word in (f"--{name}", str(value))]
