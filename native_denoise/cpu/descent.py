# mypy: disable-error-code=no-untyped-def
"""Steps of `descent` on folded rows: x <- x - w ((x - f) - lambda div p), p = grad x / sqrt(|grad x|^2 +
epsilon^2), w = a m.

x, f and epsilon are in units of lambda / 2 and p is kept as 2 p, so that lambda div p needs no factor.
``floor`` is epsilon^2.

A step goes from row to row through ``flux``, the offset of a row that holds f - p_y(above), what all rows
above have to say to this one, and is left holding the same for the next.  ``ahead`` is the offset of f of
the row below.
"""

from __future__ import annotations

import numpy as np

from ..vectors.jit import row
from ..vectors.simd import LANES, left_neighbours, load, rsqrt_twice, splat, store


@row
def descent_row(work, x, below, ahead, flux, weights, w, blocks, floor):
    """One step of the row at ``x``, whose hem and repeated column are left to the caller."""
    before, scale_before = splat(np.float32(0.0)), splat(np.float32(0.0))
    here = load(work, x)
    for block in range(blocks):
        i = block * LANES
        following = load(work, x + i + LANES)
        along_x, along_y = following - here, load(work, below + i) - here
        scale = rsqrt_twice(along_x * along_x + (along_y * along_y + floor))
        inflow = load(work, flux + i) - before * scale_before
        store(work, flux + i, load(work, ahead + i) - along_y * scale)
        change = (inflow - here) + (along_x + along_y) * scale
        store(work, x + i, here + load(weights, w + i) * change)
        before, scale_before, here = along_x, scale, following
    _take_from_the_first(work, x, weights, w, before * scale_before)


@row
def descent_pair(work, x, f, stride, below, ahead, flux, weights, w, blocks, floor):
    """``descent_row`` of the rows at ``x`` and ``x + stride``; ``f`` is that of the first, ``below`` and
    ``ahead`` are of the row under both.

    What one row needs of the other is in registers, and two chains of dependent operations keep the units
    busy that one would leave waiting.  Each row takes the operations of ``descent_row`` in the same order.
    (Two steps at once were slower: `descent` is bound by its arithmetic, and they need more registers than
    there are.)
    """
    lower, w_lower, f_lower = x + stride, w + stride, f + stride
    zero = splat(np.float32(0.0))
    before_a, scale_before_a, before_b, scale_before_b = zero, zero, zero, zero
    a, b = load(work, x), load(work, lower)
    for block in range(blocks):
        i = block * LANES
        next_a, next_b = load(work, x + i + LANES), load(work, lower + i + LANES)
        a_x, a_y = next_a - a, b - a
        b_x, b_y = next_b - b, load(work, below + i) - b
        scale_a = rsqrt_twice(a_x * a_x + (a_y * a_y + floor))
        scale_b = rsqrt_twice(b_x * b_x + (b_y * b_y + floor))
        inflow_a = load(work, flux + i) - before_a * scale_before_a
        inflow_b = (load(work, f_lower + i) - a_y * scale_a) - before_b * scale_before_b
        store(work, flux + i, load(work, ahead + i) - b_y * scale_b)
        change_a = (inflow_a - a) + (a_x + a_y) * scale_a
        change_b = (inflow_b - b) + (b_x + b_y) * scale_b
        store(work, x + i, a + load(weights, w + i) * change_a)
        store(work, lower + i, b + load(weights, w_lower + i) * change_b)
        before_a, scale_before_a, before_b, scale_before_b = a_x, scale_a, b_x, scale_b
        a, b = next_a, next_b
    _take_from_the_first(work, x, weights, w, before_a * scale_before_a)
    _take_from_the_first(work, lower, weights, w_lower, before_b * scale_before_b)


@row
def _take_from_the_first(work, x, weights, w, p_x):
    """To the left of vector 0 is the last vector, whose ``p_x`` is only known at the end of the row."""
    left = left_neighbours(splat(np.float32(0.0)), p_x)
    store(work, x, load(work, x) - load(weights, w) * left)
