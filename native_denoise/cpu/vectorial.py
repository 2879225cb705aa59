# mypy: disable-error-code=no-untyped-def
"""One step of `descent` and of `rof` on one row of a stack of planes that share one norm
(``vectorial=True``).

The layout of ``rows``.  The norm couples the channels, so each block of columns is visited for all channels
before the next; neighbours to the left are loaded at an offset instead of being carried.
"""

from __future__ import annotations

import numpy as np

from ..vectors.jit import row
from ..vectors.simd import LANES, load, rsqrt_twice, smaller, splat, store
from .rows import AHEAD, DUAL_X, DUAL_Y, TINY, F


@row
def descent_stack(work, x, size, depth, stride, below, flux, weights, w, blocks, floor):
    """The step of ``descent`` for ``depth`` planes; ``flux`` has 2 * depth rows: p_y of the row above, and
    p_x.
    """
    plane = depth * size
    for block in range(blocks):
        i = block * LANES
        squares = floor
        for channel in range(depth):
            c = x + channel * size + i
            here = load(work, c)
            along_x, along_y = load(work, c + 1) - here, load(work, c + below) - here
            squares = squares + (along_x * along_x + along_y * along_y)
        scale = rsqrt_twice(squares)
        for channel in range(depth):
            c = x + channel * size + i
            here = load(work, c)
            p_x = (load(work, c + 1) - here) * scale
            p_y = (load(work, c + below) - here) * scale
            above = flux + channel * stride + i
            left = above + depth * stride
            store(work, left, p_x)
            divergence = (p_x - load(work, left - 1)) + (p_y - load(work, above))
            store(work, above, p_y)
            change = divergence + (load(work, c + F * plane) - here)
            store(work, c, here + load(weights, w + i) * change)


@row
def rof_stack(work, x, size, depth, stride, below, weights, w, blocks, ascent, pull, stretch):
    """``rows.rof_row`` for ``depth`` planes."""
    one = splat(np.float32(1.0))
    plane = depth * size
    for block in range(blocks):
        i = block * LANES
        squares = splat(TINY)
        for channel in range(depth):
            c = x + channel * size + i
            ahead, q_x, q_y = c + AHEAD * plane, c + DUAL_X * plane, c + DUAL_Y * plane
            here = load(work, ahead)
            p_x = load(work, q_x) + ascent * (load(work, ahead + 1) - here)
            p_y = load(work, q_y) + ascent * (load(work, ahead + below) - here)
            store(work, q_x, p_x)
            store(work, q_y, p_y)
            squares = squares + (p_x * p_x + p_y * p_y)
        inverse = rsqrt_twice(squares)
        scale = smaller(one, load(weights, w + i) * inverse)
        for channel in range(depth):
            c = x + channel * size + i
            q_x, q_y = c + DUAL_X * plane, c + DUAL_Y * plane
            p_x = load(work, q_x) * scale
            p_y = load(work, q_y) * scale
            store(work, q_x, p_x)
            store(work, q_y, p_y)
            divergence = (p_x - load(work, q_x - 1)) + (p_y - load(work, q_y - stride))
            old = load(work, c)
            change = (load(work, c + F * plane) + divergence) - old
            store(work, c, old + pull * change)
            store(work, c + AHEAD * plane, old + stretch * change)
