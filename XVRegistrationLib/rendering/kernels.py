"""Warp, started quietly, and a kernel's rays spread over the processor's threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
import warp as wp

from XVRegistrationLib.rendering.native_messages import without_driver_warning

with without_driver_warning():
    # Quiet while it looks around: a computer without an NVIDIA driver is a normal one.
    wp.config.log_level = wp.LOG_ERROR
    wp.init()
    wp.config.log_level = wp.LOG_WARNING

# Warp runs a CPU kernel on the calling thread without the GIL: chunks of rays go to a pool. More chunks than threads
# even out rays of different length; too many cost launches of about 30 microseconds each.
_CHUNKS_PER_THREAD = 4
_MIN_RAYS_PER_CHUNK = 512


def launch_over_rays(kernel: Any, count: int, inputs: list[Any], device: torch.device, together: int = 1) -> None:
    """Run `kernel` for so many rays, or tiles of rays that go together; its last input, added here, is a launch's first.

    On a GPU in torch's current stream, without waiting for it.
    """
    wp_device = wp.device_from_torch(device)

    def launch(first: int, count: int) -> None:
        wp.launch(kernel, dim=count, inputs=[*inputs, first], device=wp_device)

    if device.type == "cuda":
        with wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device))):
            launch(0, count)
        return
    wp.load_module(kernel.module, device=wp_device)  # compiled once, before threads race for it
    chunks = max(1, min(_pool_size() * _CHUNKS_PER_THREAD, count * together // _MIN_RAYS_PER_CHUNK))
    bounds = [count * c // chunks for c in range(chunks + 1)]
    parts = [(bounds[c], bounds[c + 1] - bounds[c]) for c in range(chunks)]
    list(_pool().map(lambda part: launch(*part), parts))


def _pool_size() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_pool_size(), thread_name_prefix="rays")
