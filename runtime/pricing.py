"""What symbols cost: loops compiled on first use, kept in Numba's cache, run without the GIL.

``total`` is on the way of every guarded frame. NumPy would walk its 20,000 symbols once for each of six
operations, and most of the time would go into the memory of what lies between them.

All arrays are 1-D. ``symbols`` and ``index`` are not trusted; ``offset``, ``start``, ``last`` (where the
escape is) and ``bits`` are as ``Tables`` keeps them.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from runtime.tables import SYMBOL_LIMIT

BAD = -1.0
"""Price of what cannot be coded: an index without a table, a symbol beyond ``SYMBOL_LIMIT``."""

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _price(symbol, table, offset, start, last, bits):
    if table < 0 or table >= last.size:
        return np.float32(BAD)
    position = symbol - offset[table]
    if 0 <= position < last[table]:
        return bits[start[table] + position]
    if symbol < -SYMBOL_LIMIT or symbol > SYMBOL_LIMIT:
        return np.float32(BAD)
    # Sign and Elias-gamma code of the distance beyond the table: two bits for each of its binary digits.
    distance = -position if position < 0 else position - last[table] + 1
    digits = 0
    while distance > 0:
        distance >>= 1
        digits += 1
    return bits[start[table] + last[table]] + np.float32(2 * digits)


@_kernel
def each(symbols, index, offset, start, last, bits, prices):
    """Write each symbol's price to ``prices``; False at the first that has none."""
    for i in range(symbols.size):
        price = _price(symbols[i], index[i], offset, start, last, bits)
        if price < 0:
            return False
        prices[i] = price
    return True


@_kernel
def total(symbols, index, offset, start, last, bits, totals):
    """Write the prices of as many equal runs of symbols as ``totals`` has room for; False as above."""
    run = symbols.size // totals.size
    for n in range(totals.size):
        sum_of_run = 0.0
        for i in range(n * run, (n + 1) * run):
            price = _price(symbols[i], index[i], offset, start, last, bits)
            if price < 0:
                return False
            sum_of_run += price
        totals[n] = sum_of_run
    return True
