"""Latent rate control: give up what costs many bits and carries little.

In the units of a latent one step of error costs the network the same everywhere (the Fisher metric,
docs/decisions.md). So each symbol is chosen alone, for the least sum of loss and bits:

    s = argmin  (v - s)^2 + lambda bits(s)    over  s in {round(v), round(v) one step towards 0, 0}

It needs no second pass of the head. It first takes away what an attack on the rate puts in: small values
where the prior expects none. A value that rounds to zero has no alternative and is skipped.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codec.tables import Tables

MIN_WEIGHT, MAX_WEIGHT = 2.0**-10, 2.0**48
"""Where ``least_weight`` looks: from next to nothing to what outweighs any error that a latent can have."""

PRECISION = 1.01
"""``least_weight`` is at most this factor above the least one."""


def control_rate(
    values: NDArray[np.float32], index: NDArray[np.int32], tables: Tables, weight: float
) -> NDArray[np.int32]:
    """Symbols that cost least, int32[n].

    Args:
        values: float32[n], |value| < 2**20, what is coded before it is rounded: y less its mean.
        index, tables: int32[n], the table that codes each of them.
        weight: lambda >= 0, in squared steps a bit: larger sends fewer bits; 0 rounds.
    """
    return tables.cheapest(values, index, weight)


class RateControl:
    """One stream's candidates, priced once and ready for any weight; arguments as in ``control_rate``."""

    def __init__(self, values: NDArray[np.float32], index: NDArray[np.int32], tables: Tables):
        self._index, self._tables = index, tables
        self._rounded = np.rint(values).astype(np.int32)
        self._active = np.flatnonzero(self._rounded != 0)
        rounded = self._rounded[self._active]
        self._candidates = np.stack([rounded, rounded - np.sign(rounded), np.zeros_like(rounded)])
        self._error = np.square(np.subtract(values[self._active], self._candidates, dtype=np.float32))
        self._bits = tables.information_bits(self._candidates, np.stack([index[self._active]] * 3))

    def symbols(self, weight: float) -> NDArray[np.int32]:
        """The symbols at one weight, int32[n]."""
        symbols = np.zeros_like(self._rounded)
        symbols[self._active] = self._cheapest(weight, self._candidates)
        return symbols

    def bits(self, weight: float) -> float:
        """Information content of the symbols at one weight; it never grows with the weight."""
        return self._bits_of_zeros + float(self._cheapest(weight, self._bits).sum(dtype=np.float64))

    def least_weight(self, bits: float) -> float | None:
        """The least weight, to ``PRECISION``, whose symbols have at most ``bits``; None where none has."""
        if self.bits(0.0) <= bits:
            return 0.0
        low, high = MIN_WEIGHT, MAX_WEIGHT
        if self.bits(high) > bits:
            return None
        while high > PRECISION * low:
            middle = (low * high) ** 0.5
            if self.bits(middle) > bits:
                low = middle
            else:
                high = middle
        return high

    @cached_property
    def _bits_of_zeros(self) -> float:
        every = self._tables.information_bits(self._rounded, self._index)
        return float(every.sum(dtype=np.float64) - self._bits[0].sum(dtype=np.float64))

    def _cheapest(self, weight: float, of: NDArray[Any]) -> NDArray[Any]:
        """One row of ``of`` (3, k) for each active value; of equal costs the one that is nearer to it."""
        rounded, stepped, zero = self._error + np.float32(weight) * self._bits
        nearer = np.where(stepped < rounded, of[1], of[0])
        return np.where(zero < np.minimum(rounded, stepped), of[2], nearer)
