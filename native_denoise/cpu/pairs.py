# mypy: disable-error-code=no-untyped-def
"""One step of `descent` on two rows at once, and two of `released`: ``rows`` two and four times, but cheaper.

What one row and one step need of another is in registers, and several chains of dependent operations keep the
units busy that one would leave waiting.  Each row takes the operations of its function in ``rows`` in the
same order, so the results are the same to the last bit.  (Two steps of `descent` at once were slower: it is
bound by its arithmetic, and they need more registers than there are.)
"""

from __future__ import annotations

import numpy as np

from .jit import row
from .simd import LANES, border, left_neighbours, load, right_neighbours, rsqrt_twice, splat, store


@row
def released_twice(work, x, stride, below, weights, w, blocks, last):
    """Two steps: the first of the rows at ``x`` and ``x + stride``, the second of the row at ``x`` and of the
    one above it, whose first step was taken with the pair before.  At least two blocks.

    The second finds most of what it needs in registers, a block of columns behind the first, whose right
    neighbours it wants.
    """
    above, lower, w_above, w_lower = x - stride, x + stride, w - stride, w + stride
    # a, b: the pair before its first step; a1, b1: after it; u: the row above, which has had it.
    a, b, w_a, u = load(work, x), load(work, lower), load(weights, w), load(work, above)
    next_a, next_b = load(work, x + LANES), load(work, lower + LANES)
    a1 = _released(a, right_neighbours(a, next_a), b, w_a)
    b1 = _released(b, right_neighbours(b, next_b), load(work, below), load(weights, w_lower))
    store(work, lower, b1)
    for block in range(1, blocks):
        i = block * LANES
        j = i - LANES
        a, b, weight, following_u = next_a, next_b, load(weights, w + i), load(work, above + i)
        next_a, next_b = load(work, x + i + LANES), load(work, lower + i + LANES)
        right_a, right_b = right_neighbours(a, next_a), right_neighbours(b, next_b)
        if block == blocks - 1:
            right_a, right_b = border(right_a, a, last), border(right_b, b, last)
        following_a = _released(a, right_a, b, weight)
        following_b = _released(b, right_b, load(work, below + i), load(weights, w_lower + i))
        right_u, right_a = right_neighbours(u, following_u), right_neighbours(a1, following_a)
        store(work, lower + i, following_b)
        store(work, above + j, _released(u, right_u, a1, load(weights, w_above + j)))
        store(work, x + j, _released(a1, right_a, b1, w_a))
        a1, b1, u, w_a = following_a, following_b, following_u, weight
    i = (blocks - 1) * LANES
    right_u, right_a = border(right_neighbours(u, u), u, last), border(right_neighbours(a1, a1), a1, last)
    store(work, above + i, _released(u, right_u, a1, load(weights, w_above + i)))
    store(work, x + i, _released(a1, right_a, b1, w_a))


@row
def _released(here, right, below, weight):
    return here + weight * ((right - here) + (below - here))


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
