# mypy: disable-error-code=no-untyped-def
"""Several steps of one band as a wavefront: step n + 1 follows one row behind step n, or one pair of rows.

So each row takes ``levels`` steps while it is in the first- or second-level cache, and a frame that fits no
cache costs a pixel little more than a small one.  Rows are not cut into tiles: up to the widest frame tried,
2048, tiles lost at their seams more than they won.

``age`` is the number of steps since the halo was fresh; with ``top`` (``bottom``) 1 the first (last) row of
the band is not a border of the image but the end of a halo, and one row more is stale after each step.
``x`` and ``w`` are the offsets of the band's first row in plane X and in the weights.
"""

from __future__ import annotations

from ..vectors.jit import kernel, opaque, row
from ..vectors.simd import LANES, splat
from .descent import descent_pair, descent_row
from .folded import repeat_last
from .released import released_row, released_twice
from .rows import AHEAD, F, plane_size, rof_row
from .vectorial import descent_stack, rof_stack

LEVELS, MOST_LEVELS = 20, 40
"""Steps in one wave over a band that is swept from memory, and where rows are short."""

FEW_LEVELS = 4
"""Least that is worth a wave, where a band stays in the second-level cache from one wave to the next."""

FIRST_LEVEL, SECOND_LEVEL = 36 << 10, 1 << 20
"""Bytes that a wave may use of a core's two caches; where they are smaller it is only less well cut."""


@kernel
def levels_of(rows, row):
    """Most steps in one wave over ``rows`` rows of ``row`` values, those of all planes and of the mask.

    A band that fits in the second-level cache may be swept often: so few steps that their rows, two for each,
    stay in the first.  One that does not is swept as rarely as possible: so many that they stay in the
    second.  Even, for `released`.
    """
    if 4 * rows * row > SECOND_LEVEL:
        return max(LEVELS, min(MOST_LEVELS, SECOND_LEVEL // (8 * row) // 2 * 2))
    return max(FEW_LEVELS, min(LEVELS, FIRST_LEVEL // (8 * row) // 2 * 2))


@kernel
def released_wave(work, x, rows, stride, weights, w, width, levels, age, top, bottom):
    """``levels`` steps of `released`, two and two; of an odd number the last is taken alone."""
    blocks = (width + LANES - 1) // LANES
    doubles = (levels + 1) // 2
    lag = 1 + top  # pairs of rows between a double step and the next
    for front in range((rows + 1) // 2 + 1 + lag * (doubles - 1)):
        for double in range(doubles):
            # The rows [r, r + 2) are due for the first step and [r - 1, r + 1) for the second, as far as they
            # lie in [first, end) and [then, then_end).
            first = (age + 2 * double) * top
            end = rows - (1 + age + 2 * double) * bottom
            then, then_end = first + top, (end - bottom if 2 * double + 1 < levels else 0)
            r = opaque(first + 2 * (front - lag * double))
            if then < r < then_end and r + 1 < end:
                below = x + min(r + 2, rows - 1) * stride
                released_twice(work, x + r * stride, stride, below, weights, w + r * stride, blocks)
                continue
            for start, stop in ((max(r, first), min(r + 2, end)), (max(r - 1, then), min(r + 1, then_end))):
                for y in range(start, stop):
                    here, below = x + y * stride, x + min(y + 1, rows - 1) * stride
                    released_row(work, here, below, weights, w + y * stride, blocks)


@kernel
def descent_wave(work, x, rows, stride, flux, weights, w, width, levels, age, top, bottom, epsilon):
    """``levels`` steps of `descent`.  At ``flux`` each level has a row, f of its first row at first."""
    blocks = (width + LANES - 1) // LANES
    f = F * plane_size(rows, stride)
    floor = splat(epsilon * epsilon)
    for front in range((rows + 1) // 2 + levels - 1):
        for level in range(max(0, front - rows // 2), min(levels, front + 1)):
            r = (age + level) * top + 2 * (front - level)
            left = rows - (1 + age + level) * bottom - r
            here, there, inflow = x + r * stride, w + r * stride, flux + level * stride
            if left > 1:
                below = here + (2 * stride if r + 2 < rows else stride)
                descent_pair(
                    work, here, here + f, stride, below, below + f, inflow, weights, there, blocks, floor
                )
                repeat_last(work, here, width, blocks)
                repeat_last(work, here + stride, width, blocks)
            elif left == 1:
                below = here + (stride if r + 1 < rows else 0)
                descent_row(work, here, below, below + f, inflow, weights, there, blocks, floor)
                repeat_last(work, here, width, blocks)


@kernel
def stack_wave(work, x, rows, depth, stride, flux, weights, w, width, levels, age, top, bottom, epsilon):
    """``descent_wave`` of stacks.  At ``flux`` each level has 2 * depth rows, zero at first."""
    blocks = (width + LANES - 1) // LANES
    size = plane_size(rows, stride)
    floor = splat(epsilon * epsilon)
    for front in range(rows + levels - 1):
        for level in range(max(0, front - rows + 1), min(levels, front + 1)):
            r = front - level
            if r < (age + level) * top or r >= rows - (1 + age + level) * bottom:
                continue
            below = stride if r + 1 < rows else 0
            here, there, above = x + r * stride, w + r * stride, flux + level * 2 * depth * stride
            descent_stack(work, here, size, depth, stride, below, above, weights, there, blocks, floor)
            repeat_border(work, here + width, depth, size)


@kernel
def rof_wave(work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom, rates, done):
    """Steps ``done`` to ``done + levels`` of `rof`; ``rates`` as in ``sweeps.run_bands``."""
    blocks = (width + LANES - 1) // LANES
    size = plane_size(rows, stride)
    for front in range(rows + levels - 1):
        for level in range(levels):
            r = opaque(front - level)
            stale = r < (age + level) * top or r >= rows - (1 + age + level) * bottom
            if stale:
                continue
            below = stride if r < rows - 1 else 0
            here, there = x + r * stride, w + r * stride
            n = done + level
            ascent, pull, stretch = splat(rates[n, 0]), splat(rates[n, 1]), splat(rates[n, 2])
            if depth == 1:
                rof_row(
                    work, here, size, stride, below, weights, there, blocks,
                    ascent, pull, stretch,
                )  # fmt: skip
            else:
                rof_stack(
                    work, here, size, depth, stride, below, weights, there, blocks,
                    ascent, pull, stretch,
                )  # fmt: skip
            repeat_border(work, here + AHEAD * depth * size + width, depth, size)


@row
def repeat_border(work, past, depth, size):
    """Column W of each of ``depth`` planes repeats column W - 1; ``past`` is its offset in the first."""
    for channel in range(depth):
        work[past + channel * size] = work[past + channel * size - 1]
