# mypy: disable-error-code=no-untyped-def
"""A 5 x 5 convolution of stride 2 with 55 % of the multiplications, and its GDN.

Down a column, the outputs of such a convolution, y_j = sum of w_k d_(2j + k), are those of two convolutions
of stride 1: w0, w2, w4 on the even inputs and w1, w3 on the odd ones. Winograd's minimal algorithms (1980;
Lavin and Gray 2016) take six products for four outputs of the first, at the points 0, 1, -1, 2, -2 and
infinity, and five for the second, at 0, 1, -1, 2 and infinity, instead of twelve and eight:

    y = AFTER [(WEIGHTS w) * (BEFORE d)]

Here w and d are whole rows, and each product a sum over channels and columns. The error is that of plain sums
in float32, 1e-6 of the outputs. Along rows as well there would be fewer multiplications still, but so many
sums of single columns that nothing is won.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.jit import row
from native_denoise.vectors.simd import LANES, load, splat, store
from runtime.engines.stem.gdn import BLOCK, TILE, add_products, keep, normalised, scatter, zeros

Array = NDArray[np.float32]

KERNEL = 5
OUTPUTS, RING = 4, 12
"""Rows that are made together, and rows of the input that are kept: the eleven that they take, and one."""

EVEN, PRODUCTS = 6, 11
"""Products of the even rows of the input, and of all."""

WEIGHTS = np.zeros((PRODUCTS, KERNEL))
WEIGHTS[:EVEN, ::2] = np.array([[6, 0, 0], [4, 4, 4], [4, -4, 4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
WEIGHTS[EVEN:, 1::2] = np.array([[3, 0], [3, 3], [1, -1], [1, 2], [0, 6]]) / 6

AFTER = np.array(
    [
        [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0, 0, 1, -1, 2, 0],
        [0, 1, 1, 4, 4, 0, 0, 1, 1, 4, 0],
        [0, 1, -1, 8, -8, 1, 0, 1, -1, 8, 1],
    ],
    dtype=np.float32,
)


class Minimal(NamedTuple):
    """A convolution and its GDN, for a kernel.

    weights: ``transformed``, in blocks. offsets: int64 (taps,), from a column to what each tap of it takes.
    gamma, beta: as in ``gdn_kernel.normalised``. stride: values in a row of the input, all channels together.
    side: of the output, at least ``TILE``.
    """

    weights: Array
    offsets: NDArray[np.int64]
    gamma: Array
    beta: Array
    stride: int
    side: int


class WinogradWorkspace(NamedTuple):
    """Memory of one thread, float32.

    rows: a ring of RING rows of the input; row y, from -2 on, begins at ``slot(y)``. In a row, channel by
        channel, a zero and the even columns, and a zero and the odd ones, with zeros behind both.
    lines: (EVEN, stride), sums of rows. sums: OUTPUTS rows of the output, in tiles.
    block: a tile of BLOCK channels. tile: one of the input, all channels.
    """

    rows: Array
    lines: Array
    sums: Array
    block: Array
    tile: Array


def transformed(weights: Array) -> Array:
    """(C, c, 5, 5) -> (11, C, c 5): each product's weights, float32."""
    rows = np.einsum("pk,oikl->poil", WEIGHTS, weights.astype(np.float64))
    return rows.reshape(len(WEIGHTS), len(weights), -1).astype(np.float32)


@row
def slot(y, stride):
    """Where row ``y`` of the input is in its ring."""
    return (y + RING) % RING * stride


@row
def four_rows(level, group, work, out):
    """Rows 4 ``group`` to 4 ``group`` + 3 of the output (channels, side, side), flat, from the eleven rows of
    the input that they take.
    """
    for i in range(0, work.sums.size, LANES):
        store(work.sums, i, splat(np.float32(0)))
    above = 2 * OUTPUTS * group - 2
    _take_even(work.rows, above, level.stride, work.lines)
    _sum_up(level, 0, EVEN, work)
    _take_odd(work.rows, above + 1, level.stride, work.lines)
    _sum_up(level, EVEN, PRODUCTS, work)
    channels, side = level.beta.size, level.side
    for tile in range(_tiles(side)):
        for y in range(OUTPUTS):
            x = (tile * OUTPUTS + y) * channels * TILE
            for block in range(0, channels, BLOCK):
                quotients = normalised(work.sums, x, level.gamma, level.beta, block)
                at = (block * side + OUTPUTS * group + y) * side + _column(tile, side)
                scatter(out, at, LANES, side * side, quotients)


@row
def _tiles(side):
    return (side + TILE - 1) // TILE


@row
def _column(tile, side):
    """Where a tile begins; the last one ends with the row, whatever it has in common with the one before."""
    return min(tile * TILE, side - TILE)


@row
def _sum_up(level, first, last, work):
    """Add up products [first, last), of the sums of rows in ``work.lines``, for each row of the output."""
    channels = level.beta.size
    for product in range(first, last):
        for block in range(0, channels, BLOCK):
            for tile in range(_tiles(level.side)):
                line = (product - first) * level.stride + _column(tile, level.side)
                _multiply(level, product * channels + block, line, work)
                for y in range(OUTPUTS):
                    at = ((tile * OUTPUTS + y) * channels + block) * TILE
                    _add(AFTER[y, product], work.block, work.sums, at)


@row
def _multiply(level, block, line, work):
    """A product's sums over channels and columns, to ``work.block``."""
    taps, sums = level.offsets.size, zeros()
    for tap in range(taps):
        at = level.offsets[tap] + line
        weight = block * taps + tap * BLOCK
        sums = add_products(sums, level.weights, weight, load(work.lines, at), load(work.lines, at + LANES))
    keep(work.block, 0, sums)


@row
def _add(factor, block, sums, at):
    if factor != 0:
        for i in range(0, BLOCK * TILE, LANES):
            store(sums, at + i, load(sums, at + i) + splat(factor) * load(block, i))


@row
def _take_even(rows, y, stride, lines):
    """BEFORE d of rows ``y``, ``y`` + 2, to ``y`` + 10."""
    two, four, five = splat(np.float32(2)), splat(np.float32(4)), splat(np.float32(5))
    i0, i1, i2 = slot(y, stride), slot(y + 2, stride), slot(y + 4, stride)
    i3, i4, i5 = slot(y + 6, stride), slot(y + 8, stride), slot(y + 10, stride)
    for n in range(0, stride, LANES):
        d0, d1, d2 = load(rows, i0 + n), load(rows, i1 + n), load(rows, i2 + n)
        d3, d4, d5 = load(rows, i3 + n), load(rows, i4 + n), load(rows, i5 + n)
        store(lines, n, four * d0 - five * d2 + d4)
        a, b = four * d2 - d4, four * d1 - d3
        store(lines, n + stride, a + b)
        store(lines, n + 2 * stride, a - b)
        a, b = d4 - d2, two * (d3 - d1)
        store(lines, n + 3 * stride, a + b)
        store(lines, n + 4 * stride, a - b)
        store(lines, n + 5 * stride, four * d1 - five * d3 + d5)


@row
def _take_odd(rows, y, stride, lines):
    """BEFORE d of rows ``y``, ``y`` + 2, to ``y`` + 8."""
    two, three = splat(np.float32(2)), splat(np.float32(3))
    i0, i1, i2 = slot(y, stride), slot(y + 2, stride), slot(y + 4, stride)
    i3, i4 = slot(y + 6, stride), slot(y + 8, stride)
    for n in range(0, stride, LANES):
        d0, d1, d2 = load(rows, i0 + n), load(rows, i1 + n), load(rows, i2 + n)
        d3, d4 = load(rows, i3 + n), load(rows, i4 + n)
        a, b = d1 - d3, two * d1
        store(lines, n, two * (d0 - d2) - a)
        store(lines, n + stride, d2 - d3 + b)
        store(lines, n + 2 * stride, three * d2 - d3 - b)
        store(lines, n + 3 * stride, d3 - d1)
        store(lines, n + 4 * stride, two * a - (d2 - d4))
