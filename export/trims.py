"""Which corrupted frames are sent in coarser steps: the dearest, so many that a corruption adds 4 % at most.

A frame is either left alone or sent ``runtime.guard.TRIM`` steps coarser. To take as much from the bytes of a
corruption by changing as few frames as possible, the dearest are taken: a level of bits a corruption and
severity, above which its frames are trimmed. A device sees neither, only the bits of each channel; a linear
function of them a kind of corruption says how far a frame is above the level of what it looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.suspicion import regression

ALLOWED = 0.04
"""Of the bytes, what a corruption may add; a little below the 0.05 that it should not exceed, since other
photographs than those of the fit are dearer or cheaper by a percent."""
NEAR = 0.15
"""Distances from the level count up to here, in the logarithm of bits: only near it is there a choice."""
ROUNDS, PULL = 20, 0.5
"""Of moving the levels until what the linear function trims, not what they would, is what is allowed: so many
times, by this share of what a corruption adds too much or too little."""


@dataclass(frozen=True)
class Cell:
    """What one corruption of one severity makes of n frames.

    features: float32 (n, C), as ``runtime.guard`` computes them.
    bits, trimmed: of y as it is and in coarser steps, float64 (n,).
    clean_bits: of y of the same frames clean, all together.
    """

    features: NDArray[np.float32]
    bits: NDArray[np.float64]
    trimmed: NDArray[np.float64]
    clean_bits: float

    def excess(self, trim: NDArray[np.bool_]) -> float:
        """What is added to the bits of the clean frames where the frames ``trim``, bool (n,), are trimmed."""
        return float(np.where(trim, self.trimmed, self.bits).sum()) / self.clean_bits - 1


def with_trims(
    weights: NDArray[np.float32], bias: NDArray[np.float32], kinds: Sequence[Sequence[Cell]]
) -> dict[str, NDArray[np.float32]]:
    """The arrays of guard.npz where the discriminants of attacks and of each kind are given.

    weights, bias: float32 (K + 1, C) and (K + 1,). kinds: the cells of each of the K. A frame that looks more
    like another kind is trimmed, on the device, as one of that; the fit does not look at this.
    """
    rows = [
        dearest(cells, [cell.features @ weight + threshold > 0 for cell in cells])
        for cells, weight, threshold in zip(kinds, weights[1:], bias[1:], strict=True)
    ]
    return {
        "weights": np.vstack([weights, *(row for row, _ in rows)]).astype(np.float32),
        "bias": np.append(bias, [threshold for _, threshold in rows]).astype(np.float32),
    }


def dearest(cells: Sequence[Cell], found: Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.float32], float]:
    """Weights (C,) and bias of a score above 0 for the frames of a kind that are to be trimmed.

    found: bool (n,) of each cell, the frames for which the alarm rings: no other is ever trimmed.
    """
    levels = np.log([level(cell, some) for cell, some in zip(cells, found, strict=True)])
    moved = np.isfinite(levels)  # where nothing need be trimmed there is nothing to move
    features = np.concatenate([cell.features for cell in cells])
    best: tuple[float, NDArray[np.float32], float] | None = None
    bits = np.log(np.concatenate([cell.bits for cell in cells]))
    counts = [len(cell.bits) for cell in cells]
    for _ in range(ROUNDS):
        above = bits - np.repeat(levels, counts)
        slope, bias = regression(features, np.clip(above, -NEAR, NEAR))
        weights = slope.astype(np.float32)
        excess = np.array(
            [
                cell.excess(some & (cell.features @ weights + bias > 0))
                for cell, some in zip(cells, found, strict=True)
            ]
        )
        miss = float(np.abs(excess - ALLOWED)[moved].max(initial=0.0))
        if best is None or miss < best[0]:
            best = miss, weights, bias
        levels[moved] -= PULL * (excess - ALLOWED)[moved]
    assert best is not None
    return best[1:]


def level(cell: Cell, found: NDArray[np.bool_]) -> float:
    """Bits above which the frames ``found``, bool (n,), have to be trimmed to keep to ``ALLOWED``.

    Infinite where none has to, the bits of the cheapest where all of them do not do.
    """
    order = np.flatnonzero(found)[np.argsort(-cell.bits[found])]
    left = cell.bits.sum() - np.append(0, np.cumsum((cell.bits - cell.trimmed)[order]))
    enough = np.flatnonzero(left <= (1 + ALLOWED) * cell.clean_bits)
    count = int(enough[0]) if enough.size else len(order)
    return float(cell.bits[order[count - 1]]) if count else np.inf
