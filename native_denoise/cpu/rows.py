# mypy: disable-error-code=no-untyped-def
"""The planes of every mode, and one step of `rof` on one row while it is in the cache.

A stack of ``depth`` planes that are denoised together (1, or all channels if vectorial) lies in one flat
float32 array.  Plane v of channel c starts at ``base + (v * depth + c) * size``; a row has ``stride``
values, the multiple of LANES that holds the width W and LANES more; ``plane_size`` gives ``size``.  Row 0 of
a plane is all zeros and stands for the row above the image.  Columns from W on keep weight 0 and dual 0;
column W of an iterate repeats column W - 1 (the replicate border), so that a row needs no special case at
its end.  (The rows of `descent` and `released`, unless vectorial, are folded: ``folded``.)

A row function does the first ``blocks`` vectors of its row.  Rows are updated in place.  Step n of row
y reads rows y and y + 1 of step n - 1 and what step n left in row y - 1, so row y - 1 may take step n + 1
directly after row y has taken step n.
"""

from __future__ import annotations

import numpy as np

from ..vectors.jit import kernel, row
from ..vectors.simd import (
    LANES,
    left_neighbours,
    load,
    right_neighbours,
    rsqrt,
    rsqrt_twice,
    smaller,
    splat,
    store,
    total,
)

TINY = np.float32(1e-30)
"""Keeps rsqrt finite where a vector is zero; lambda times 1e15 is still far above 1 unless lambda is 0
too.
"""

PAGE, APART = 1024, 160
"""float32 values in a page of 4 KiB; neighbouring planes lie ``APART`` values more than whole pages apart."""

# Planes of each mode, by their number v.
X, F, AHEAD, DUAL_X, DUAL_Y = 0, 1, 2, 3, 4


@kernel
def plane_size(rows, stride):
    """Values from a plane to the next: the row of zeros, ``rows`` rows, and a gap.

    x86 takes a load for one that must wait for an earlier store if their addresses agree in the last 12 bits.
    Without the gap they do in planes of 1024 or 2048 columns, and a step takes a sixth longer.
    """
    least = (rows + 1) * stride
    return least + (APART - least) % PAGE


@row
def rof_row(work, x, size, stride, below, weights, w, blocks, ascent, pull, stretch):
    """Dual step and projection, then primal step and extrapolation (``reference.rof``), of one plane.

    ``x`` is the offset of the row in plane X; the other planes follow at multiples of ``size``; ``below`` is
    what to add for the next row: ``stride``, or 0 in the last row, where the difference is then zero.  The
    last three are vectors: sigma, tau / (1 + tau) and 1 + theta times that.  w = lambda m / 2.
    """
    one = splat(np.float32(1.0))
    tiny = splat(TINY)
    f, ahead, q_x, q_y = x + F * size, x + AHEAD * size, x + DUAL_X * size, x + DUAL_Y * size
    before = splat(np.float32(0.0))
    here = load(work, ahead)
    for block in range(blocks):
        i = block * LANES
        following = load(work, ahead + i + LANES)
        p_x = load(work, q_x + i) + ascent * (right_neighbours(here, following) - here)
        p_y = load(work, q_y + i) + ascent * (load(work, ahead + below + i) - here)
        inverse = rsqrt_twice(p_x * p_x + (p_y * p_y + tiny))
        scale = smaller(one, load(weights, w + i) * inverse)
        p_x = p_x * scale
        p_y = p_y * scale
        divergence = (p_x - left_neighbours(before, p_x)) + (p_y - load(work, q_y - stride + i))
        store(work, q_x + i, p_x)
        store(work, q_y + i, p_y)
        old = load(work, x + i)
        change = (load(work, f + i) + divergence) - old
        store(work, x + i, old + pull * change)
        store(work, ahead + i, old + stretch * change)
        before = p_x
        here = following


@kernel
def gap_row(work, x, size, depth, stride, below, weights, w, inner, blocks):
    """This row's part of ``objective.duality_gap``, for ``depth`` planes that share one norm.

    ``inner`` is the offset in ``weights`` of a row with 1 left of the last column and 0 from there on:
    plane X itself does not repeat its border.
    """
    tiny = splat(TINY)
    half = splat(np.float32(0.5))
    two = splat(np.float32(2.0))
    result = splat(np.float32(0.0))
    plane = depth * size
    for block in range(blocks):
        i = block * LANES
        squares = tiny
        for channel in range(depth):
            c = x + channel * size + i
            here = load(work, c)
            along_x = (load(work, c + 1) - here) * load(weights, inner + i)
            along_y = load(work, c + below) - here
            p_x, p_y = load(work, c + DUAL_X * plane), load(work, c + DUAL_Y * plane)
            divergence = (p_x - load(work, c + DUAL_X * plane - 1)) + (
                p_y - load(work, c + DUAL_Y * plane - stride)
            )
            residual = here - load(work, c + F * plane) - divergence
            result = result + half * residual * residual - (p_x * along_x + p_y * along_y)
            squares = squares + (along_x * along_x + along_y * along_y)
        result = result + two * load(weights, w + i) * (squares * rsqrt(squares))
    return total(result)
