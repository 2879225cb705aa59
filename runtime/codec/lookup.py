"""From a 24-bit quantile to a table's entry without a search through the whole table.

The 2**24 quantiles of a table are cut into 2**k equal buckets, about four for each entry. For each bucket the
entry at its low end is stored; only between that and the next bucket's is there anything left to search.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from runtime.codec.limits import PRECISION, TOTAL
from runtime.codec.tables import Tables

_BUCKETS_PER_ENTRY = 4
_MIN_BITS, _MAX_BITS = 4, 12


class Lookup(NamedTuple):
    """Buckets of all tables, one after the other.

    Attributes:
        first: int32, entry (place in the flat arrays of ``Tables``) at the low end of each bucket, and
            after a table's last bucket its last entry.
        start: int32[T], where each table begins in ``first``.
        shift: int32[T], a quantile without this many low bits is the number of its bucket.
    """

    first: NDArray[np.int32]
    start: NDArray[np.int32]
    shift: NDArray[np.int32]


_cache: WeakKeyDictionary[Tables, Lookup] = WeakKeyDictionary()


def lookup(tables: Tables) -> Lookup:
    """Buckets for ``tables``, made once for each object."""
    known = _cache.get(tables)
    if known is None:
        known = _cache[tables] = _build(tables)
    return known


def _build(tables: Tables) -> Lookup:
    bits = np.ceil(np.log2(tables.size * _BUCKETS_PER_ENTRY)).astype(np.int64).clip(_MIN_BITS, _MAX_BITS)
    slots = (1 << bits) + 1
    start = np.cumsum(slots) - slots
    table = np.repeat(np.arange(len(tables)), slots)
    low_end = (np.arange(slots.sum()) - start[table]) << (PRECISION - bits)[table]
    # All tables at once: the place of an entry or of a quantile on one line, table after table.
    entries = np.repeat(np.arange(len(tables)), tables.size) * TOTAL + tables.cdf
    wanted = table * TOTAL + np.minimum(low_end, TOTAL - 1)
    first = np.searchsorted(entries, wanted, side="right") - 1
    return Lookup(first.astype(np.int32), start.astype(np.int32), (PRECISION - bits).astype(np.int32))
