# mypy: disable-error-code=no-untyped-def
"""Several steps of one band as a wavefront: step n + 1 follows one row behind step n.

A row is then used by all steps of a wave while it is in the first-level cache, and rows of different steps do
not wait for one another.  ``age`` is the number of steps since the halo was fresh; with ``top``
(``bottom``) 1 the first (last) row of the band is not a border of the image but the end of a halo, and one
row more is stale after each step.  ``x`` and ``w`` are the offsets of the band's first row in plane X and
in the weights.
"""

from __future__ import annotations

from .jit import kernel
from .rows import F, descent_row, released_row, rof_row
from .simd import LANES, splat
from .vectorial import descent_stack, rof_stack

LEVELS = 4
"""Steps in one wave: the rows in flight of a plane 224 wide then just fit in 32 KiB."""


@kernel
def released_wave(work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom, rate):
    """``levels`` steps of `released`."""
    blocks = (width + LANES - 1) // LANES
    speed = splat(rate)
    for front in range(rows + levels - 1):
        for level in range(levels):
            r = front - level
            if r < (age + level) * top or r >= rows - (1 + age + level) * bottom:
                continue
            below = stride if r < rows - 1 else 0
            for channel in range(depth):
                c = x + channel * (rows + 1) * stride + r * stride
                released_row(work, c, c + below, weights, w + r * stride, width, blocks, speed)


@kernel
def descent_wave(
    work, x, rows, depth, stride, flux, weights, w, width, levels, age, top, bottom, step, weight, epsilon
):
    """``levels`` steps of `descent`; each level has 2 * depth rows at ``flux``, zero at first."""
    blocks = (width + LANES - 1) // LANES
    size = (rows + 1) * stride
    a = splat(step)
    a_lambda = splat(step * weight)
    floor = splat(epsilon * epsilon)
    for front in range(rows + levels - 1):
        for level in range(levels):
            r = front - level
            if r < (age + level) * top or r >= rows - (1 + age + level) * bottom:
                continue
            below = stride if r < rows - 1 else 0
            here, there = x + r * stride, w + r * stride
            above = flux + level * 2 * depth * stride
            if depth == 1:
                descent_row(
                    work, here, here + F * size, here + below, above, weights, there, width, blocks,
                    a, a_lambda, floor,
                )  # fmt: skip
            else:
                descent_stack(
                    work, here, size, depth, stride, below, above, weights, there, width, blocks,
                    a, a_lambda, floor,
                )  # fmt: skip


@kernel
def rof_wave(work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom, rates, done, weight):
    """Steps ``done`` to ``done + levels`` of `rof`; ``rates`` as in ``sweeps.advance_bands``."""
    blocks = (width + LANES - 1) // LANES
    size = (rows + 1) * stride
    radius = splat(weight)
    for front in range(rows + levels - 1):
        for level in range(levels):
            r = front - level
            if r < (age + level) * top or r >= rows - (1 + age + level) * bottom:
                continue
            below = stride if r < rows - 1 else 0
            here, there = x + r * stride, w + r * stride
            n = done + level
            ascent, keep = splat(rates[n, 0]), splat(rates[n, 1])
            pull, push = splat(rates[n, 2]), splat(rates[n, 3])
            if depth == 1:
                rof_row(
                    work, here, size, stride, below, weights, there, width, blocks,
                    radius, ascent, keep, pull, push,
                )  # fmt: skip
            else:
                rof_stack(
                    work, here, size, depth, stride, below, weights, there, width, blocks,
                    radius, ascent, keep, pull, push,
                )  # fmt: skip
