"""Which shape of tile suits a GPU: `descent` by each of ``SHAPES``, for one frame and for a batch.

``native_denoise.cuda.strips`` has two that an H200 chose, for few planes and for many; another GPU may choose
others.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.gpu.cases import GpuCase
from bench.gpu.denoise import run_case
from runtime.guard.defence import ITERATIONS

if TYPE_CHECKING:
    from native_denoise.cuda import Strips

FRAMES = (1, 64)
SHAPES = (
    (2, 2, 16, 4), (2, 2, 16, 8), (2, 4, 8, 4), (1, 4, 16, 8), (2, 8, 8, 4), (2, 8, 8, 8), (2, 8, 16, 8),
    (4, 8, 8, 8), (4, 4, 16, 8), (4, 8, 16, 8),
)  # fmt: skip
"""Columns, rows, warps and halo, as of ``Strips``."""


def cases(runs: int, missing: str | None) -> Iterator[GpuCase]:
    """One case a shape and number of frames."""
    for numbers in SHAPES:
        for frames in FRAMES:
            name = f"columns {numbers[0]}, rows {numbers[1]}, warps {numbers[2]}, halo {numbers[3]}"
            run = functools.partial(run_shape, numbers, frames, runs)
            yield GpuCase("shapes", f"{name}, {frames} frames", run, missing)


def run_shape(numbers: tuple[int, int, int, int], frames: int, runs: int) -> dict[str, Any]:
    """Correctness and time of `descent` at the default of the defence."""
    return run_case("descent", ITERATIONS, True, frames, runs, _strips(numbers))


def _strips(numbers: tuple[int, int, int, int]) -> Strips:
    from native_denoise.cuda import Strips

    return Strips(*numbers)
