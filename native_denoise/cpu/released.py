# mypy: disable-error-code=no-untyped-def
"""Steps of `released` on folded rows: u <- u + w ((u_right - u) + (u_below - u)) with w = a lambda m."""

from __future__ import annotations

import numpy as np

from ..vectors.jit import row
from ..vectors.simd import LANES, load, splat, store
from .folded import hem, hemmed


@row
def released_row(work, x, below, weights, w, blocks):
    """One step of the row at ``x``; ``x``, ``below``, ``w``: offsets of the rows."""
    here = load(work, x)
    for block in range(blocks):
        i = block * LANES
        following = load(work, x + i + LANES)
        store(work, x + i, _moved(here, following, load(work, below + i), load(weights, w + i)))
        here = following
    hem(work, x, blocks)


@row
def released_twice(work, x, stride, below, weights, w, blocks):
    """Two steps: the first of the rows at ``x`` and ``x + stride``, the second of the row at ``x`` and of the
    one above it, whose first step was taken with the pair before.

    The second finds most of what it needs in registers, a block behind the first, whose right neighbours it
    wants.  Each row takes the operations of ``released_row`` in the same order.
    """
    above, lower, w_above, w_lower = x - stride, x + stride, w - stride, w + stride
    # a, b: the pair before its first step; a1, b1: after it; u: the row above, which has had it.
    a, b, w_a, u = load(work, x), load(work, lower), load(weights, w), load(work, above)
    next_a, next_b = load(work, x + LANES), load(work, lower + LANES)
    a1 = _moved(a, next_a, b, w_a)
    b1 = _moved(b, next_b, load(work, below), load(weights, w_lower))
    first_a1 = a1
    store(work, lower, b1)
    for block in range(1, blocks):
        i = block * LANES
        j = i - LANES
        a, b, weight, next_u = next_a, next_b, load(weights, w + i), load(work, above + i)
        next_a, next_b = load(work, x + i + LANES), load(work, lower + i + LANES)
        next_a1 = _moved(a, next_a, b, weight)
        next_b1 = _moved(b, next_b, load(work, below + i), load(weights, w_lower + i))
        store(work, lower + i, next_b1)
        store(work, above + j, _moved(u, next_u, a1, load(weights, w_above + j)))
        store(work, x + j, _moved(a1, next_a1, b1, w_a))
        a1, b1, u, w_a = next_a1, next_b1, next_u, weight
    i = (blocks - 1) * LANES
    store(work, above + i, _moved(u, load(work, above + i + LANES), a1, load(weights, w_above + i)))
    store(work, x + i, _moved(a1, hemmed(first_a1, a1), b1, w_a))
    hem(work, above, blocks)
    hem(work, x, blocks)
    hem(work, lower, blocks)


@row
def _moved(here, right, below, weight):
    return here + weight * ((right + below) - splat(np.float32(2.0)) * here)
