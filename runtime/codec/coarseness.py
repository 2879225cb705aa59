"""Coarseness: one bundle at many rates.

A frame may be coded in coarser steps than its bundle was made for. At coarseness c a step is ``factor(c)`` of
the bundle's, that is the ratio of two neighbouring scale tables to the power c / 4, so that

    hyperprior    the table of a scale is the one ``rungs(c)`` below: as wide as the values have become
    factorized    each table is rebinned (``rebinned``): the same density, seen through wider bins
    both          symbol = round((y - mean) / factor)        y_hat = symbol factor + mean

One step of c saves about 3 % of the bytes of rate 1. Coarser steps cost the network as much accuracy as a
bundle that was made for them. Giving up coefficients (``runtime.codec.rate_control``) is as good for the
first 8 % of the bytes. At 15 % it adds three to six times as much divergence as coarser steps do
(``bench.rates``, docs/results.md).

Everything a decoder needs is integer arithmetic. The idea is that of gain units: Cui et al., "Asymmetric
Gained Deep Image Compression With Continuous Rate Adaptation" (CVPR 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.codec.limits import TOTAL
from runtime.codec.tables import SCALES, Tables

COARSEST = 63
"""Largest coarseness: six bits of a packet's header."""

QUARTERS = 4
"""Steps of the coarseness from one scale table to the next."""

_UNIT = 16  # bits behind the binary point of a factor
_RATIO = float((SCALES[-1] / SCALES[0]) ** (1 / (QUARTERS * (len(SCALES) - 1))))
_FACTORS = tuple(round(_RATIO**c * (1 << _UNIT)) for c in range(COARSEST + 1))


def factor(coarseness: int) -> np.float32:
    """Steps of the bundle in one of this coarseness, from 1 to 6.9; exact in float32 on every machine."""
    return np.float32(_FACTORS[coarseness] / (1 << _UNIT))


def rungs(coarseness: int) -> int:
    """How far below its own the table of a scale is, 0 to 16."""
    return (coarseness + QUARTERS // 2) // QUARTERS


def rebinned(tables: Tables, coarseness: int) -> Tables:
    """Tables of the same symbols' densities in steps of this coarseness.

    Within a bin of the finer steps a density is taken as constant, so a coarser bin has the sum of the parts
    that it covers. Symbols that were escapes stay escapes, with the same count.
    """
    if coarseness == 0:
        return tables
    wide, half = _FACTORS[coarseness], 1 << _UNIT
    count = tables.size.astype(np.int64) - 1
    # Edges in units of 2**-17 of a finer step: those of symbol s are (2 s - 1) and (2 s + 1) half steps.
    low = (2 * tables.offset.astype(np.int64) - 1) * half
    high = low + 2 * half * count
    first = (low // wide + 1) // 2
    last = -((1 - -(-high // wide)) // 2)
    size = last - first + 1
    number = np.repeat(np.arange(len(tables)), size)
    symbol = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + first[number]
    below = _mass_below(tables, number, (2 * symbol - 1) * wide - low[number])
    above = _mass_below(tables, number, (2 * symbol + 1) * wide - low[number])
    counts = np.maximum((above - below) >> _UNIT + 1, 1)
    escape = tables.counts[tables.start + tables.size - 1].astype(np.int64)
    counts = np.insert(counts, np.cumsum(size), escape)
    start = np.cumsum(size + 1) - (size + 1)
    # What rounding has lost or added belongs to the likeliest entry, which hardly feels it.
    likeliest = start + [int(np.argmax(part)) for part in np.split(counts, start[1:])]
    counts[likeliest] += TOTAL - np.add.reduceat(counts, start)
    return Tables(counts, size + 1, first)


def _mass_below(tables: Tables, number: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts of table ``number`` below ``place``, both times 2**17; place is 0 at the table's low edge."""
    ends = 2 * (tables.size.astype(np.int64) - 1)[number] << _UNIT
    inside = np.clip(place, 0, ends)
    entry = np.minimum(inside >> _UNIT + 1, tables.size[number] - 2)
    part = inside - (entry << _UNIT + 1)
    flat = tables.start[number] + entry
    return (tables.cdf[flat].astype(np.int64) << _UNIT + 1) + tables.counts[flat].astype(np.int64) * part
