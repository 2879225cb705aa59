# mypy: disable-error-code=no-untyped-def
"""Bilinear resizing of a small map, row by row; a matrix product would wake the threads of a BLAS for it."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ..vectors.jit import kernel


def resize(
    small: NDArray[np.float32], shape: tuple[int, int], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """A float32 map in another shape, (H, W): between the centres of pixels, constant outside them."""
    if out is None:
        out = np.empty(shape, dtype=np.float32)
    rows, columns = (_taps(old, new) for old, new in zip(small.shape, shape, strict=True))
    _resize(small, *rows, *columns, np.empty((small.shape[0], shape[1]), dtype=np.float32), out)
    return out


@functools.lru_cache(maxsize=32)
def _taps(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The two pixels between which each new one lies, and the share of the second."""
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0.0, old - 1.0)
    first = np.minimum(centre.astype(np.int64), max(old - 2, 0))
    return first, np.minimum(first + 1, old - 1), (centre - first).astype(np.float32)


@kernel
def _resize(small, above, below, down, left, right, across, wide, out):
    for y in range(small.shape[0]):
        for x in range(left.size):
            begin = small[y, left[x]]
            wide[y, x] = begin + across[x] * (small[y, right[x]] - begin)
    for y in range(above.size):
        upper, lower, share, line = wide[above[y]], wide[below[y]], down[y], out[y]
        for x in range(line.size):
            line[x] = upper[x] + share * (lower[x] - upper[x])
