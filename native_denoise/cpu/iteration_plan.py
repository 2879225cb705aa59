"""The plan of a call: it follows from settings and image shape, so equal calls share one."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..modes import Settings, schedule
from . import sweeps
from .bands import BandPlan, Part, plan, turns

_MODES = {"released": sweeps.RELEASED, "descent": sweeps.DESCENT, "rof": sweeps.ROF}

BLOCK = 50
"""Most steps between two meetings of the threads; each costs about 50 us, each row of halo a row per step."""

CHECK = 10
"""Steps of `rof` between two evaluations of the duality gap, which cost about one step each."""

COST = {"released": 0.1, "descent": 0.33, "rof": 0.6}
"""Nanoseconds of a pixel and step, about."""

LEAD = 120_000
"""Nanoseconds of work, as ``COST`` has it, that the calling thread takes more of than the others: they begin
later, and if it ended first it would sleep and have to wake up.
"""

WORTH_SHARING = 500_000
"""Nanoseconds of work below which a second thread, which has to wake up, costs more than it saves."""


@dataclass(frozen=True, eq=False)
class IterationPlan:
    """How a batch of one shape is denoised."""

    settings: Settings
    mode: int
    """As ``sweeps`` numbers them."""
    depth: int
    """Planes of a stack: C if vectorial, else 1."""
    layout: BandPlan
    block: int
    """Steps between two meetings of the threads, if they meet."""
    parts: list[list[Part]] | None
    """What each thread does if they take turns (``bands.turns``); None if they meet."""
    factor: np.float32
    """What the rows of the mode want the mask multiplied by."""
    scales: sweeps.Scales
    rates: NDArray[np.float32]
    """(iterations, 3) as ``sweeps.run_bands`` wants them, of `rof` only."""


@functools.lru_cache(maxsize=32)
def iteration_plan(
    settings: Settings, shape: tuple[int, ...], grey_levels: bool, vectorial: bool, threads: int
) -> IterationPlan:
    """The plan for images (N, C, H, W), with ``grey_levels`` of uint8, on at most ``threads`` threads."""
    frames, channels, height, width = shape
    mode = _MODES[settings.mode]
    depth = channels if vectorial else 1
    each = channels // depth
    stacks = frames * each
    block = _block(settings, stacks * height, threads)
    cost = height * width * depth * COST[settings.mode]
    count = _threads(stacks * max(settings.iterations, 1) * cost, threads, stacks * height, block)
    in_turns = settings.tolerance is None and settings.iterations > 0 and count <= stacks
    halo = height if in_turns else block + 1
    layout = plan(frames, each, depth, height, width, sweeps.PLANES[mode], count, halo)
    parts = turns(stacks, settings.iterations, count, round(LEAD / cost)) if in_turns else None
    scales = _scales(settings, grey_levels)
    return IterationPlan(
        settings, mode, depth, layout, block, parts, _factor(settings), scales, _rates(settings)
    )


def _block(settings: Settings, rows: int, threads: int) -> int:
    """Steps in one block: few rows for each thread want a small halo."""
    each = rows // threads
    longest = max(4, min(CHECK if settings.tolerance is not None else BLOCK, each // 4))
    if settings.tolerance is not None:
        return longest
    # Equal blocks: 100 steps are 50 + 50 and not 66 + 34.
    return max(1, -(-settings.iterations // max(1, -(-settings.iterations // longest))))


def _threads(work: float, wanted: int, rows: int, block: int) -> int:
    """Threads that are worth having; no more than leave each twice its halo."""
    if work < WORTH_SHARING:
        return 1
    return max(1, min(wanted, rows // (2 * (block + 1))))


def _factor(settings: Settings) -> np.float32:
    if settings.mode == "rof":
        return np.float32(0.5 * settings.weight)
    return np.float32(settings.step * (settings.weight if settings.mode == "released" else 1.0))


def _scales(settings: Settings, grey_levels: bool) -> sweeps.Scales:
    """`descent` saves an operation in units of lambda / 2.

    A lambda below 1e-7 counts as 1e-7: it moves no pixel by more than 4e-7.
    """
    unit = max(settings.weight, 1e-7) / 2 if settings.mode == "descent" else 1.0
    level = 1 / 255 if grey_levels else 1.0
    # The conversion to uint8 truncates, so half a grey level makes it round.
    bias = 0.5 if grey_levels else 0.0
    return sweeps.Scales(
        *map(
            np.float32,
            (level, level / unit, unit, settings.epsilon / unit, 255.0 if grey_levels else 1.0, bias),
        )
    )


def _rates(settings: Settings) -> NDArray[np.float32]:
    if settings.mode != "rof":
        return np.zeros((1, 3), dtype=np.float32)
    tau, sigma, theta = schedule(settings.iterations).T
    pull = tau / (1 + tau)
    return np.stack([sigma, pull, (1 + theta) * pull], axis=1).astype(np.float32)
