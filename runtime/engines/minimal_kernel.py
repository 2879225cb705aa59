# mypy: disable-error-code=no-untyped-def
"""A 5 x 5 convolution of stride 2 with 55 % of the multiplications, and its GDN.

Down a column, the outputs of such a convolution, y_j = sum of w_k d_(2j + k), are those of two convolutions of
stride 1: w0, w2, w4 on the even inputs and w1, w3 on the odd ones. Winograd's minimal algorithms (1980; Lavin
and Gray 2016) take six products for four outputs of the first, at the points 0, 1, -1, 2, -2 and infinity, and
five for the second, at 0, 1, -1, 2 and infinity, instead of twelve and eight:

    y = AFTER [(WEIGHTS w) * (BEFORE d)]

Here w and d are whole rows, and each product a sum over channels and columns. The error is that of the plain
sums in float32 (1e-6 of the outputs). Along rows as well there would be fewer multiplications still, but so many
sums of single columns that nothing is won.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_denoise.cpu.jit import row
from native_denoise.cpu.simd import LANES, load, splat, store
from runtime.engines.gdn_kernel import BLOCK, TILE, add_products, keep, normalised, scatter, zeros

Array = NDArray[np.float32]

KERNEL = 5
OUTPUTS, INPUTS = 4, 11
"""Rows that are made together, and rows that they take: from two above to two below, strides of 2."""

WEIGHTS = np.zeros((11, KERNEL))
WEIGHTS[:6, ::2] = np.array([[6, 0, 0], [4, 4, 4], [4, -4, 4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
WEIGHTS[6:, 1::2] = np.array([[3, 0], [3, 3], [1, -1], [1, 2], [0, 6]]) / 6

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


class Workspace(NamedTuple):
    """Memory of one thread. lines: (11, stride). sums: OUTPUTS rows of the output, in tiles. tile: of a block."""

    lines: Array
    sums: Array
    tile: Array


def transformed(weights: Array) -> Array:
    """(C, c, 5, 5) -> (11, C, c 5): each product's weights, float32."""
    rows = np.einsum("pk,oikl->poil", WEIGHTS, weights.astype(np.float64))
    return rows.reshape(len(WEIGHTS), len(weights), -1).astype(np.float32)


@row
def four_rows(level, rows, group, work, out):
    """Rows 4 ``group`` to 4 ``group`` + 3 of the output (channels, side, side), flat.

    rows: the input, flat, from two rows above it on. In a row, channel by channel, a zero and the even columns,
    and a zero and the odd ones, with zeros behind both.
    """
    channels, side = level.beta.size, level.side
    tiles = (side + TILE - 1) // TILE
    for i in range(0, work.sums.size, LANES):
        store(work.sums, i, splat(np.float32(0)))
    _before(rows, 2 * OUTPUTS * group * level.stride, level.stride, work.lines)
    for product in range(AFTER.shape[1]):
        for block in range(0, channels, BLOCK):
            for tile in range(tiles):
                _products(level, product, block, _column(tile, side), work)
                for y in range(OUTPUTS):
                    at = ((tile * OUTPUTS + y) * channels + block) * TILE
                    _add(AFTER[y, product], work.tile, work.sums, at)
    for tile in range(tiles):
        for y in range(OUTPUTS):
            x = (tile * OUTPUTS + y) * channels * TILE
            for block in range(0, channels, BLOCK):
                quotients = normalised(work.sums, x, level.gamma, level.beta, block)
                at = (block * side + OUTPUTS * group + y) * side + _column(tile, side)
                scatter(out, at, LANES, side * side, quotients)


@row
def _column(tile, side):
    """Where a tile begins; the last one ends with the row, whatever it has in common with the one before."""
    return min(tile * TILE, side - TILE)


@row
def _products(level, product, block, column, work):
    """The sums of a product over channels and columns, to ``work.tile``."""
    taps, begin = level.offsets.size, product * level.stride + column
    where = (product * level.beta.size + block) * taps
    sums = zeros()
    for tap in range(taps):
        at = level.offsets[tap] + begin
        pixels, more = load(work.lines, at), load(work.lines, at + LANES)
        sums = add_products(sums, level.weights, where + tap * BLOCK, pixels, more)
    keep(work.tile, 0, sums)


@row
def _add(factor, tile, sums, at):
    if factor != 0:
        for i in range(0, BLOCK * TILE, LANES):
            store(sums, at + i, load(sums, at + i) + splat(factor) * load(tile, i))


@row
def _before(rows, top, stride, lines):
    """The 11 sums of rows: BEFORE d."""
    two, three = splat(np.float32(2)), splat(np.float32(3))
    four, five = splat(np.float32(4)), splat(np.float32(5))
    for n in range(0, stride, LANES):
        i = top + n
        d0, d1, d2 = load(rows, i), load(rows, i + stride), load(rows, i + 2 * stride)
        d3, d4, d5 = load(rows, i + 3 * stride), load(rows, i + 4 * stride), load(rows, i + 5 * stride)
        d6, d7, d8 = load(rows, i + 6 * stride), load(rows, i + 7 * stride), load(rows, i + 8 * stride)
        d9, d10 = load(rows, i + 9 * stride), load(rows, i + 10 * stride)
        store(lines, n, four * d0 - five * d4 + d8)
        a, b = four * d4 - d8, four * d2 - d6
        store(lines, n + stride, a + b)
        store(lines, n + 2 * stride, a - b)
        a, b = d8 - d4, two * (d6 - d2)
        store(lines, n + 3 * stride, a + b)
        store(lines, n + 4 * stride, a - b)
        store(lines, n + 5 * stride, four * d2 - five * d6 + d10)
        a, b = d3 - d7, two * d3
        store(lines, n + 6 * stride, two * (d1 - d5) - a)
        store(lines, n + 7 * stride, d5 - d7 + b)
        store(lines, n + 8 * stride, three * d5 - d7 - b)
        store(lines, n + 9 * stride, d7 - d3)
        store(lines, n + 10 * stride, two * a - (d5 - d9))
