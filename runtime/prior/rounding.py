"""Rounding of y by what h_s says of it, and back: loops compiled on first use, kept on disk.

Every frame takes them, defended ones twice. NumPy would walk its 20,000 to 70,000 symbols once for each of
eight operations, through memory that is new each time.

All arrays are 1-D. ``parameters`` is what h_s returns, float32[2 n] of whole numbers: the table of each of n
symbols, then its mean in steps of 1/16. Results are those of NumPy, bit by bit.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from native_denoise.vectors.jit import compiled
from runtime.codec import limits
from runtime.codec.limits import LATENT_LIMIT, MEAN_STEPS

_LIMIT = np.float32(LATENT_LIMIT)
_STEP = np.float32(1 / MEAN_STEPS)

_kernel = compiled(limits, error_model="numpy")


@_kernel
def tables_of(parameters, tables, index):
    """Write each symbol's table, 0 .. ``tables`` - 1, to ``index``, int32[n]."""
    last = np.float32(tables - 1)
    for i in range(index.size):
        index[i] = np.int32(min(max(parameters[i], np.float32(0)), last))


@_kernel
def rounded(y, parameters, values, symbols):
    """Write y less its mean to ``values``, float32[n], and what that rounds to, ties to even, to ``symbols``,
    int32[n]; False where a y, float32[n], is not a number.
    """
    mean = parameters[y.size :]
    numbers = True
    for i in range(y.size):
        numbers &= y[i] == y[i]
        value = min(max(y[i], -_LIMIT), _LIMIT) - mean[i] * _STEP
        values[i] = value
        symbols[i] = np.int32(np.rint(value))
    return numbers


@_kernel
def restored(symbols, steps, parameters, y_hat):
    """Write the symbols, int32[n], times ``steps``, float32, with their means to ``y_hat``, float32[n]."""
    mean = parameters[symbols.size :]
    for i in range(symbols.size):
        y_hat[i] = np.float32(symbols[i]) * steps + mean[i] * _STEP
