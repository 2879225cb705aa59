# mypy: disable-error-code=no-untyped-def
"""Several steps of one band as a wavefront: step n + 1 follows one row behind step n, and one vector to its
left.

So a tile of ``TILE`` vectors by all rows takes ``LEVELS`` steps while each of its values is in the
first-level cache, rows of different steps do not wait for one another, and wide images cost a pixel what
narrow ones cost. A tile leans to the left: step n of a tile ends n vectors before its first step does,
since it needs its right neighbours at step n - 1, and the next tile begins there.

``age`` is the number of steps since the halo was fresh; with ``top`` (``bottom``) 1 the first (last) row of
the band is not a border of the image but the end of a halo, and one row more is stale after each step.
``x`` and ``w`` are the offsets of the band's first row in plane X and in the weights.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, row
from .rows import AHEAD, F, descent_row, released_row, rof_row
from .simd import LANES, splat
from .vectorial import descent_stack, rof_stack

LEVELS = 4
"""Steps in one wave."""

TILE = 256 // LANES
"""Vectors in a row of a tile: the rows of `rof` in flight, 6 of 6 planes of 1 KiB, just fit in the cache."""


@row
def tiles_of(blocks, levels):
    """Tiles in a row of ``blocks`` vectors; a row that is not much wider than a tile is one."""
    return 1 if 2 * blocks <= 3 * TILE else (blocks + levels - 1 + TILE - 1) // TILE


@row
def begin_of(tile, level):
    """First vector of a tile at a level."""
    return max(0, tile * TILE - level)


@row
def end_of(tile, tiles, level, blocks):
    """One past the last vector of a tile at a level."""
    return blocks if tile == tiles - 1 else min(blocks, (tile + 1) * TILE - level)


@kernel
def released_wave(work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom):
    """``levels`` steps of `released`."""
    blocks = (width + LANES - 1) // LANES
    tiles = tiles_of(blocks, levels)
    for tile in range(tiles):
        for front in range(rows + levels - 1):
            for level in range(levels):
                r = front - level
                begin, end = begin_of(tile, level), end_of(tile, tiles, level, blocks)
                stale = r < (age + level) * top or r >= rows - (1 + age + level) * bottom
                if stale or begin >= end:
                    continue
                below = stride if r < rows - 1 else 0
                for channel in range(depth):
                    c = x + channel * (rows + 1) * stride + r * stride
                    released_row(work, c, c + below, weights, w + r * stride, begin, end)
                    if end == blocks:
                        work[c + width] = work[c + width - 1]


@kernel
def descent_wave(
    work, x, rows, depth, stride, flux, weights, w, width, levels, age, top, bottom, weight, epsilon
):
    """``levels`` steps of `descent`.  At ``flux`` each level has 2 * depth rows, zero at first; seams
    follow.
    """
    blocks = (width + LANES - 1) // LANES
    size = (rows + 1) * stride
    tiles = tiles_of(blocks, levels) if depth == 1 else 1
    pull = splat(np.float32(0.5) * weight)
    floor = splat(epsilon * epsilon)
    for tile in range(tiles):
        for front in range(rows + levels - 1):
            for level in range(levels):
                r = front - level
                begin, end = begin_of(tile, level), end_of(tile, tiles, level, blocks)
                stale = r < (age + level) * top or r >= rows - (1 + age + level) * bottom
                if stale or begin >= end:
                    continue
                below = stride if r < rows - 1 else 0
                here, there = x + r * stride, w + r * stride
                above = flux + level * 2 * depth * stride
                if depth == 1:
                    seam = flux + LEVELS * 2 * stride + ((r * LEVELS + level) * LANES if tiles > 1 else 0)
                    descent_row(
                        work, here, here + F * size, here + below, above, seam, weights, there, begin, end,
                        pull, floor,
                    )  # fmt: skip
                else:
                    descent_stack(
                        work, here, size, depth, stride, below, above, weights, there, blocks,
                        pull, floor,
                    )  # fmt: skip
                if end == blocks:
                    repeat_border(work, here + width, depth, size)


@kernel
def rof_wave(work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom, rates, done):
    """Steps ``done`` to ``done + levels`` of `rof`; ``rates`` as in ``sweeps.advance_bands``."""
    blocks = (width + LANES - 1) // LANES
    size = (rows + 1) * stride
    tiles = tiles_of(blocks, levels) if depth == 1 else 1
    for tile in range(tiles):
        for front in range(rows + levels - 1):
            for level in range(levels):
                r = front - level
                begin, end = begin_of(tile, level), end_of(tile, tiles, level, blocks)
                stale = r < (age + level) * top or r >= rows - (1 + age + level) * bottom
                if stale or begin >= end:
                    continue
                below = stride if r < rows - 1 else 0
                here, there = x + r * stride, w + r * stride
                n = done + level
                ascent, keep = splat(rates[n, 0]), splat(rates[n, 1])
                pull, push = splat(rates[n, 2]), splat(rates[n, 3])
                if depth == 1:
                    rof_row(
                        work, here, size, stride, below, weights, there, begin, end,
                        ascent, keep, pull, push,
                    )  # fmt: skip
                else:
                    rof_stack(
                        work, here, size, depth, stride, below, weights, there, blocks,
                        ascent, keep, pull, push,
                    )  # fmt: skip
                if end == blocks:
                    repeat_border(work, here + AHEAD * depth * size + width, depth, size)


@row
def repeat_border(work, past, depth, size):
    """Column W of each of ``depth`` planes repeats column W - 1; ``past`` is its offset in the first."""
    for channel in range(depth):
        work[past + channel * size] = work[past + channel * size - 1]
