"""What symbols cost: loops compiled on first use, kept on disk, run without the GIL.

``total`` is on the way of every guarded frame. NumPy would walk its 20,000 symbols once for each of six
operations, and most of the time would go into the memory of what lies between them.

Arrays are 1-D, except those of ``spread``. ``symbols`` and ``index`` are not trusted; ``offset``, ``start``,
``last`` (where the escape is) and ``bits`` are as ``Tables`` keeps them.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from native_denoise.vectors.jit import compiled
from runtime.codec.limits import SYMBOL_LIMIT

BAD = -1.0
"""Price of what cannot be coded: an index without a table, a symbol beyond ``SYMBOL_LIMIT``."""

_kernel = compiled(error_model="numpy")


@_kernel
def _price(symbol, table, offset, start, last, bits):
    # Unsigned, a negative number is a huge one: one comparison finds both ends, and indices that count from
    # the end, which Numba would look out for, cannot be (45 us -> 26 us for 23,000 symbols).
    entry = np.uint64(table)
    if entry >= np.uint64(last.size):
        return np.float32(BAD)
    position = symbol - offset[entry]
    if np.uint64(position) < np.uint64(last[entry]):
        return bits[np.uint64(start[entry]) + np.uint64(position)]
    if symbol < -SYMBOL_LIMIT or symbol > SYMBOL_LIMIT:
        return np.float32(BAD)
    # Sign and Elias-gamma code of the distance beyond the table: two bits for each of its binary digits.
    distance = -position if position < 0 else position - last[entry] + 1
    digits = 0
    while distance > 0:
        distance >>= 1
        digits += 1
    return bits[np.uint64(start[entry]) + np.uint64(last[entry])] + np.float32(2 * digits)


@_kernel
def each(symbols, index, offset, start, last, bits, prices):
    """Write each symbol's price to ``prices``; False at the first that has none."""
    for i in range(np.uint64(symbols.size)):
        price = _price(symbols[i], index[i], offset, start, last, bits)
        if price < 0:
            return False
        prices[i] = price
    return True


@_kernel
def total(symbols, index, offset, start, last, bits, totals):
    """Write the prices of as many equal runs of symbols as ``totals`` has room for; False as above."""
    run = symbols.size // totals.size
    i = np.uint64(0)
    for n in range(totals.size):
        sum_of_run = 0.0
        for _ in range(run):
            price = _price(symbols[i], index[i], offset, start, last, bits)
            if price < 0:
                return False
            sum_of_run += price
            i += np.uint64(1)
        totals[n] = sum_of_run
    return True


@_kernel
def cheapest(weight, values, index, offset, start, last, bits, symbols):
    """Write the symbol of each value that costs least in squared error and ``weight`` times bits, of those
    that ``runtime.codec.rate_control`` names; of equal ones the nearest. False as above.
    """
    for i in range(np.uint64(symbols.size)):
        value = values[i]
        rounded = np.int64(np.rint(value))
        symbols[i] = rounded
        if rounded == 0:
            continue
        least = np.float32(np.inf)
        for symbol in (rounded, rounded - (1 if rounded > 0 else -1), np.int64(0)):
            price = _price(symbol, index[i], offset, start, last, bits)
            if price < 0:
                return False
            error = value - np.float32(symbol)
            cost = error * error + weight * price
            if cost < least:
                least = cost
                symbols[i] = symbol
    return True


@_kernel
def spread(likelihood, energy, out):
    """Write the mean over the channels of ``likelihood``, (C, n), weighted with each column of ``energy``,
    (C, m), to ``out``, (m, n); at most 1. All float32 and 2-D.

    A matrix product, but so small a one that waking the threads of a BLAS costs more than its sums, and up to
    14 ms where another process has the cores.
    """
    for column in range(energy.shape[1]):
        line, total = out[column], np.float32(0)
        line[:] = 0
        for channel in range(energy.shape[0]):
            weight = energy[channel, column]
            total += weight
            values = likelihood[channel]
            for i in range(line.size):
                line[i] += weight * values[i]
        for i in range(line.size):
            line[i] = min(line[i] / total, np.float32(1))
