# mypy: disable-error-code=no-untyped-def
"""One step of `descent` and of `released` on two rows at once: ``rows`` twice, and a third cheaper.

What the upper row needs of the lower one is in registers (its values, and for `descent` the flux between the
two), and two chains of dependent operations keep the units busy that one would leave waiting.  Each row takes
the operations of its function in ``rows`` in the same order, so the results are the same to the last bit.
"""

from __future__ import annotations

import numpy as np

from .jit import row
from .simd import LANES, left_neighbours, load, right_neighbours, rsqrt_twice, splat, store


@row
def released_pair(work, x, stride, below, weights, w, blocks):
    """``rows.released_row`` of the rows at ``x`` and ``x + stride``; ``below`` is the row under both."""
    upper, lower = load(work, x), load(work, x + stride)
    for block in range(blocks):
        i = block * LANES
        j = i + stride
        next_upper, next_lower = load(work, x + i + LANES), load(work, x + j + LANES)
        change_upper = (right_neighbours(upper, next_upper) - upper) + (lower - upper)
        change_lower = (right_neighbours(lower, next_lower) - lower) + (load(work, below + i) - lower)
        store(work, x + i, upper + load(weights, w + i) * change_upper)
        store(work, x + j, lower + load(weights, w + j) * change_lower)
        upper, lower = next_upper, next_lower


@row
def descent_pair(work, x, f, stride, below, flux, weights, w, blocks, floor):
    """``rows.descent_row`` of the rows at ``x`` and ``x + stride``; ``below`` is the row under both."""
    before_upper, before_lower = splat(np.float32(0.0)), splat(np.float32(0.0))
    upper, lower = load(work, x), load(work, x + stride)
    for block in range(blocks):
        i = block * LANES
        j = i + stride
        next_upper, next_lower = load(work, x + i + LANES), load(work, x + j + LANES)
        upper_x, lower_x = (
            right_neighbours(upper, next_upper) - upper,
            right_neighbours(lower, next_lower) - lower,
        )
        upper_y, lower_y = lower - upper, load(work, below + i) - lower
        scale_upper = rsqrt_twice(upper_x * upper_x + (upper_y * upper_y + floor))
        scale_lower = rsqrt_twice(lower_x * lower_x + (lower_y * lower_y + floor))
        upper_x, lower_x = upper_x * scale_upper, lower_x * scale_lower
        upper_y, lower_y = upper_y * scale_upper, lower_y * scale_lower
        out_upper = (upper_x - left_neighbours(before_upper, upper_x)) + (upper_y - load(work, flux + i))
        out_lower = (lower_x - left_neighbours(before_lower, lower_x)) + (lower_y - upper_y)
        store(work, flux + i, lower_y)
        change_upper = out_upper + (load(work, f + i) - upper)
        change_lower = out_lower + (load(work, f + j) - lower)
        store(work, x + i, upper + load(weights, w + i) * change_upper)
        store(work, x + j, lower + load(weights, w + j) * change_lower)
        before_upper, before_lower = upper_x, lower_x
        upper, lower = next_upper, next_lower
