"""From one X-ray to a pose by a network: milliseconds on two threads, of the default network and of PSSS's.

The image has the network's size; that it is standardised and that the rotation is made orthonormal counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.predict import predict
from XVRegistrationLib.networks.settings import DEFAULT, GROUP, PSSS, NetworkSettings, network_named
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from pathlib import Path

BAR_MS = 20.0
"""Of the default network."""
_THREADS, _WARM, _TIMES = 2, 10, 200
_NETWORKS = {
    "default": network_named(DEFAULT, NetworkSettings()),
    "default, group normalisation": NetworkSettings(normalization=GROUP),
    "PSSS's (EfficientNet-b0 with attention)": network_named(PSSS, NetworkSettings()),
}


def run(output: Path) -> None:
    """Print and save what a prediction takes."""
    found = {"networks": [_row(name, settings) for name, settings in _NETWORKS.items()], "versions": versions()}
    write_json(output / "network-forward.json", found)
    table = Table(
        title=f"From one X-ray to a pose, {_THREADS} threads, {_TIMES} times; the default's bar is {BAR_MS:.0f} ms"
    )
    for heading in ("network", "px", "weights", "ms, median", "ms, fastest", "ms, 95 %"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for r in found["networks"]:
        times = (f"{r[name]:.1f}" for name in ("median_ms", "fastest_ms", "slow_ms"))
        table.add_row(r["network"], f"{r['pixels']}", f"{r['weights'] / 1e6:.2f} M", *times)
    Console(width=150).print(table)


def _row(name: str, settings: NetworkSettings) -> dict[str, Any]:
    torch.manual_seed(0)
    network = create_network(settings).eval()
    view = NominalView("AP", (0.0, 0.0, 0.0), 700.0)
    image = torch.rand(1, settings.pixels, settings.pixels)
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    laps = []
    try:
        for _ in range(_WARM + _TIMES):
            began = time.perf_counter()
            predict(network, view, image)
            laps.append(1e3 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(before)
    times = laps[_WARM:]
    return {
        "network": name,
        "pixels": settings.pixels,
        "weights": sum(p.numel() for p in network.parameters()),
        "median_ms": float(np.median(times)),
        "fastest_ms": min(times),
        "slow_ms": float(np.percentile(times, 95)),
    }
