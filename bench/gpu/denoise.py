"""The CUDA denoiser: each mode, path and batch size against the float64 reference, and its times.

Paths are planes (a launch a step, the reference) and tiles (several steps a launch). A row has the largest
error, the time of a frame from queueing to its end on the GPU, and the fraction of the roofline. CUDA events
around ``runs`` calls, queued one after the other, give the times: the cost of launching from Python is in
them. ``latency`` is one call with a synchronise, as a single frame sees it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.denoise.images import disturbed, photograph, smooth_mask
from bench.denoise.roofline import OPERATIONS
from bench.gpu.cases import GpuCase
from native_denoise import reference, settings
from runtime.guard.defence import ITERATIONS

if TYPE_CHECKING:
    from native_denoise.cuda import Strips

SIDE = 224
WORK = (("released", 100), ("descent", 100), ("descent", ITERATIONS), ("rof", 40))
"""Modes and steps that are timed; the peers of ``bench.denoise`` take 100, the defence ``ITERATIONS``."""


def cases(batches: list[int], runs: int, missing: str | None) -> Iterator[GpuCase]:
    """One case a batch size, mode and path."""
    for frames in batches:
        for mode, steps in WORK:
            for fast in (False, True):
                name = f"{mode}, {steps} steps, {'tiles' if fast else 'planes'}, {frames} frames"
                run = functools.partial(run_case, mode, steps, fast, frames, runs)
                yield GpuCase("denoise", name, run, missing)


@functools.cache
def machine() -> dict[str, Any]:
    """The GPU, and what it can move and compute: bandwidth is measured, arithmetic from clock and cores."""
    from native_denoise.cuda.device import cuda, gpu_name

    device = cuda.get_current_device()
    clock_hz = 1e3 * device.CLOCK_RATE
    # 128 float32 lanes in each multiprocessor since compute capability 8.6, as in 9.0; 64 in 8.0.
    lanes = 64 if device.compute_capability == (8, 0) else 128
    return {
        "name": gpu_name(),
        "compute_capability": list(device.compute_capability),
        "multiprocessors": device.MULTIPROCESSOR_COUNT,
        "gflops": 2 * lanes * device.MULTIPROCESSOR_COUNT * clock_hz / 1e9,
        "gbytes": copy_bandwidth(),
    }


def copy_bandwidth(size: int = 1 << 27) -> float:
    """10^9 bytes a second read and written by a copy of ``size`` float32 on the GPU."""
    from native_denoise.cuda.device import cuda

    source, target = cuda.device_array(size, np.float32), cuda.device_array(size, np.float32)
    target.copy_to_device(source)
    begin, end = cuda.event(), cuda.event()
    begin.record()
    for _ in range(10):
        target.copy_to_device(source)
    end.record()
    end.synchronize()
    return 10 * 2 * 4 * size / (1e-3 * begin.elapsed_time(end)) / 1e9


def least_us(mode: str, steps: int, launches: int, values: int, roofs: dict[str, Any]) -> float:
    """Least microseconds for all steps of ``values`` values: by arithmetic or global memory, the larger."""
    touched = {"released": (2, 1 / 3), "descent": (3, 1 / 3), "rof": (9, 1 / 3)}[mode]
    traffic = 4 * sum(touched) * values * launches / (roofs["gbytes"] * 1e9)
    arithmetic = OPERATIONS[mode] * values * steps / (roofs["gflops"] * 1e9)
    return 1e6 * max(traffic, arithmetic)


def run_case(
    mode: str, steps: int, fast: bool, frames: int, runs: int, strips: Strips | None = None
) -> dict[str, Any]:
    """Correctness and time of one mode, path, batch size and shape of tile."""
    from native_denoise.cuda import Workspace, denoise_device
    from native_denoise.cuda.device import cuda

    chosen = settings(mode, iterations=steps)
    image = disturbed(photograph()).transpose(2, 0, 1)
    mask = smooth_mask(SIDE, SIDE)
    images = cuda.to_device(np.repeat(np.ascontiguousarray(image)[None], frames, axis=0))
    masks = cuda.to_device(np.repeat(mask[None], frames, axis=0))
    out = cuda.device_array(images.shape, np.float32)
    workspace = Workspace(chosen, frames, 3, SIDE, SIDE, fast=fast, strips=strips)
    stream = cuda.stream()

    def call() -> None:
        denoise_device(images, masks, workspace, out, stream=stream)

    call()
    stream.synchronize()
    want = np.clip(reference.solve(image.astype(np.float64), mask.astype(np.float64), chosen), 0, 1)
    error = float(np.abs(out.copy_to_host() - want).max())
    begin, end = cuda.event(), cuda.event()
    begin.record(stream)
    for _ in range(runs):
        call()
    end.record(stream)
    end.synchronize()
    each_us = 1e3 * begin.elapsed_time(end) / runs
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        stream.synchronize()
        samples.append(1e6 * (time.perf_counter() - start))
    halo = (workspace.tile if mode == "rof" else workspace.strips).halo
    launches = -(-steps // halo) if fast else steps * (2 if mode == "rof" else 1)
    least = least_us(mode, steps, launches, images.size, machine())
    return {
        "mode": mode, "path": "tiles" if fast else "planes", "frames": frames, "steps": steps,
        "largest_error": error, "us_per_frame": each_us / frames,
        "latency_p50_us": float(np.median(samples)), "latency_p99_us": float(np.percentile(samples, 99)),
        "roofline_fraction": least / each_us,
    }  # fmt: skip
