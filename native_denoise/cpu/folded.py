# mypy: disable-error-code=no-untyped-def
"""Rows folded into vectors so that neighbours are whole vectors: the layout of `descent` and `released`.

A row of W columns is B = ceil(W / LANES) vectors, and lane l of vector j holds column l * B + j.  The right
neighbours of vector j are then vector j + 1, one load that the next block wants anyway, where rows in their
natural order need a shuffle.  Only the neighbours of vector B - 1 are moved by a lane; they are kept as
vector B, the *hem*.  A row has ``stride`` = (B + 1) * LANES values.

The last column is repeated up to column LANES * B - 1 (the replicate border), in images and in weights.
`released` keeps such columns equal by itself, `descent` has to repeat column W after each step.
"""

from __future__ import annotations

from ..vectors.jit import kernel, row
from ..vectors.simd import LANES, border, load, right_neighbours, splat, store, transpose


def room(stride: int) -> int:
    """Values that ``unfold`` wants past the rows: a line to write, and what it reads beyond its row."""
    return stride + LANES * LANES


@kernel
def fold(line, start, width, target, row):
    """Fold the W values at ``line[start]`` into the row at ``target[row]``, hem included; of ``line`` it may
    overwrite ``stride`` values.
    """
    blocks = (width + LANES - 1) // LANES
    past = start + width
    for i in range(past, start + blocks * LANES, LANES):
        store(line, i, splat(line[past - 1]))
    for first in range(0, blocks, LANES):
        transpose(line, start + first, blocks, target, row + first * LANES, LANES, blocks - first)
    hem(target, row, blocks)


@kernel
def unfold(work, row, width, line, start):
    """The reverse of ``fold``.  Past each lane's end it writes what is not its own, from past the row's end;
    the later lanes and then the earlier blocks put that right.
    """
    blocks = (width + LANES - 1) // LANES
    for first in range((blocks - 1) // LANES * LANES, -1, -LANES):
        transpose(work, row + first * LANES, LANES, line, start + first, blocks, LANES)


@row
def hem(work, x, blocks):
    """Vector B of the row at ``x``: right neighbours of vector B - 1.  The last column is its own."""
    store(work, x + blocks * LANES, hemmed(load(work, x), load(work, x + (blocks - 1) * LANES)))


@row
def hemmed(first, last):
    """The hem of a row whose vectors 0 and B - 1 are ``first`` and ``last``."""
    return border(right_neighbours(first, first), last, LANES - 1)


@row
def repeat_last(work, x, width, blocks):
    """Column W of the row at ``x`` repeats column W - 1, if the row has one; then ``hem``."""
    if width < blocks * LANES:
        work[x + place(width, blocks)] = work[x + place(width - 1, blocks)]
    hem(work, x, blocks)


@row
def place(column, blocks):
    """Where a row keeps a column."""
    return column % blocks * LANES + column // blocks
