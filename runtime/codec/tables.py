"""Coding tables: probabilities as integers, so that two machines can never disagree about them.

A table codes a run of consecutive integers and, as its last entry, an *escape* for all others.
Its entries are integer counts out of ``TOTAL = 2**24``; no coder ever sees a float.

    table t:   offset[t]   offset[t]+1   ...   offset[t]+size[t]-2   escape
    counts:      c_0          c_1        ...        c_(size-2)       c_(size-1)     sum: exactly 2**24
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.codec.limits import PRECISION, SYMBOL_LIMIT, TOTAL
from runtime.errors import CoderError

MAX_TABLES = 1 << 16
MAX_TABLE_SIZE = 1 << 16
MAX_ENTRIES = 1 << 22

ESCAPE_FLOOR = 2.0**-18
"""Mass outside the support of a Gaussian table, and the least that its escape is given."""

SCALES = np.geomspace(0.11, 256.0, 64)
SCALES.flags.writeable = False


class Tables:
    """Immutable set of coding tables.

    Attributes:
        counts: uint32, all tables one after the other; every count >= 1, each table sums to 2**24.
        size: int32[T], entries of each table, escape included; 2 .. 65536.
        offset: int32[T], symbol that the first entry of each table codes.
        start: int32[T], where each table begins in the flat arrays.
        cdf: uint32, like ``counts``: sum of the counts before this one within its table.
        bits: float32, like ``counts``: cost of each entry, 24 - log2(count).

    Args:
        counts, size, offset: as above, of any integer dtype. Nothing about them is trusted.

    Raises:
        CoderError: these are not coding tables; the message says which rule they break.
    """

    def __init__(self, counts: ArrayLike, size: ArrayLike, offset: ArrayLike) -> None:
        counts64 = _integers("counts", counts)
        size64, offset64 = _integers("size", size), _integers("offset", offset)
        _check_shape(counts64, size64, offset64)
        start64 = np.cumsum(size64) - size64
        _check_mass(counts64, start64)
        self.counts = _frozen(counts64, np.uint32)
        self.size = _frozen(size64, np.int32)
        self.offset = _frozen(offset64, np.int32)
        self.start = _frozen(start64, np.int32)
        # Exclusive sums run on across tables. Each table adds exactly TOTAL, so the remainder is per table.
        self.cdf = _frozen((np.cumsum(counts64) - counts64) % TOTAL, np.uint32)
        self.bits = _frozen(PRECISION - np.log2(counts64), np.float32)
        self._last = _frozen(size64 - 1, np.int32)

    def __len__(self) -> int:
        return int(self.size.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tables):
            return NotImplemented
        if other is self:  # as every look into a WeakKeyDictionary asks
            return True
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.to_arrays())

    __hash__ = object.__hash__  # by identity: the coders cache what they derive from a set of tables

    @classmethod
    def from_counts(
        cls, histograms: Sequence[ArrayLike], offsets: Sequence[int], escape_mass: float | Sequence[float]
    ) -> Tables:
        """Tables nearest to histograms.

        Args:
            histograms: one array a table, 1-D, finite, >= 0, not all zero; any unit (counts, probabilities).
            offsets: symbol that the first bin of each histogram counts.
            escape_mass: probability of all symbols outside the histogram, in (0, 1); one, or one a table.

        Raises:
            CoderError: a histogram or a mass is not as above.
        """
        masses = (
            [escape_mass] * len(histograms) if isinstance(escape_mass, (int, float)) else list(escape_mass)
        )
        if not len(histograms) == len(offsets) == len(masses) or not masses:
            raise CoderError("one histogram, one offset and one escape mass are needed for each table")
        tables = [_quantise(_with_escape(h, m)) for h, m in zip(histograms, masses, strict=True)]
        return cls(np.concatenate(tables), [t.size for t in tables], list(offsets))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """``counts`` (uint32), ``size`` and ``offset`` (int32), for ``np.savez_compressed``; no pickle."""
        return {"counts": self.counts, "size": self.size, "offset": self.offset}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Tables:
        """Inverse of ``to_arrays``. Raises CoderError for anything that ``to_arrays`` cannot have made."""
        try:
            return cls(arrays["counts"], arrays["size"], arrays["offset"])
        except KeyError as missing:
            raise CoderError(f"coding tables lack the array {missing}") from None

    def information_bits(self, symbols: NDArray[Any], index: NDArray[Any]) -> NDArray[np.float32]:
        """Exact cost of each symbol in bits, escapes included.

        Args:
            symbols: int32, any shape, |symbol| <= 2**20.
            index: int32 or uint16, same shape, table of each symbol, 0 .. len(self) - 1.

        Returns:
            float32, same shape. What a coder writes for all of them differs from the sum by less than a
            word, plus the rounding of rANS (about 1e-5 of it).

        Raises:
            CoderError: an index or a symbol out of range.
        """
        from runtime.codec import (
            pricing,  # Numba, half a second to import: only for who asks what symbols cost
        )

        prices = np.empty(symbols.shape, dtype=np.float32)
        self._run(pricing.each, symbols, index, prices.reshape(-1))
        return prices

    def total_bits(self, symbols: NDArray[Any], index: NDArray[Any], runs: int = 1) -> NDArray[np.float32]:
        """Sums of ``information_bits`` over each of so many equal runs of symbols, float32[runs].

        Faster than summing them up, for want of the memory that they would take.

        Args:
            symbols, index: as in ``information_bits``; their number is a multiple of ``runs``.
            runs: e.g. the channels of y.
        """
        from runtime.codec import pricing

        if runs < 1 or symbols.size % runs:
            raise CoderError(f"{symbols.size} symbols do not make {runs} equal runs")
        totals = np.empty(runs, dtype=np.float32)
        self._run(pricing.total, symbols, index, totals)
        return totals

    def cheapest(self, values: NDArray[np.float32], index: NDArray[Any], weight: float) -> NDArray[np.int32]:
        """The symbols that cost least in squared error and bits, as ``runtime.codec.rate_control`` has it."""
        from runtime.codec import pricing

        symbols = np.empty(values.shape, dtype=np.int32)

        self._run(partial(pricing.cheapest, np.float32(weight)), values, index, symbols.reshape(-1))
        return symbols

    def _run(
        self, loop: Callable[..., bool], symbols: NDArray[Any], index: NDArray[Any], out: NDArray[Any]
    ) -> None:
        if symbols.shape != index.shape:
            raise CoderError(f"symbols {symbols.shape} and table indices {index.shape} differ in shape")
        if not loop(symbols.ravel(), index.ravel(), self.offset, self.start, self._last, self.bits, out):
            raise CoderError(
                f"a table index is outside 0 .. {len(self) - 1}, or a symbol outside +-{SYMBOL_LIMIT}"
            )


def gaussian_tables(scales: ArrayLike = SCALES) -> Tables:
    """Zero-mean Gaussians on the integers: P(k) = F((k + 1/2) / scale) - F((k - 1/2) / scale).

    A table ends where less than ``ESCAPE_FLOOR`` = 2**-18 is left outside, and the escape gets what is left,
    2**-18 at least. A wider support gains nothing: at the largest scale the outermost entries are already
    down to the smallest count, 2**-24, and escapes cost 2**-18 * 30 bits, 1e-4 bits a symbol. The floor is
    for narrow tables, whose own tail underflows: real latents leave them more often than a Gaussian does.

    Args:
        scales: standard deviations in units of one symbol, finite, > 0, at most 4096.

    Raises:
        CoderError: a scale is out of range.
    """
    sigmas = np.asarray(scales, dtype=np.float64).ravel()
    if not np.all((sigmas > 0) & (sigmas <= 4096)):
        raise CoderError("scales of Gaussian tables must be in (0, 4096]")
    halves = [_half_gaussian(float(sigma)) for sigma in sigmas]
    histograms = [np.concatenate([half[:0:-1], half]) for half in halves]
    masses = [max(1.0 - float(h.sum()), ESCAPE_FLOOR) for h in histograms]
    return Tables.from_counts(histograms, [1 - half.size for half in halves], masses)


def scale_index(scale: ArrayLike) -> NDArray[np.int32]:
    """Table of ``gaussian_tables(SCALES)`` for each scale: the nearest in logarithm.

    Coding sigma = r * table costs about (ln r)**2 / ln 2 bits too many, alike in both directions; so the
    nearest is the cheapest. Against CompressAI's rule (the first table that is not smaller) |ln r| is at most
    half a step instead of a whole one, and the loss a quarter: on average 0.002 bits a symbol, not 0.007.

    Args:
        scale: any shape; taken as float32. Below 0.11, negative too: the first table; above 256: the last;
            NaN: any table.

    Returns:
        int32, same shape, 0 .. 63. Exact on every machine: a float32 is only compared, never computed with.
    """
    bounds, first = _scale_buckets()
    values = np.ascontiguousarray(scale, dtype=np.float32)
    bucket = values.view(np.int32) >> _BUCKET_SHIFT
    guess = first.take(bucket - _FIRST_BUCKET, mode="clip")
    guess += values > bounds.take(guess)
    return guess


# A float32 without its 20 lowest bits is a bucket one eighth of an octave wide, hence narrower than a step
# between two scales: the table is that of the bucket's low end or the next.
_BUCKET_SHIFT = 20
_FIRST_BUCKET = int(np.float32(0.0625).view(np.int32)) >> _BUCKET_SHIFT
_LAST_BUCKET = int(np.float32(512).view(np.int32)) >> _BUCKET_SHIFT


@cache
def _scale_buckets() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Upper bound of each table's scales (float32[64], last: infinity); table of each bucket's low end."""
    bounds = np.append(np.sqrt(SCALES[1:] * SCALES[:-1]), np.inf).astype(np.float32)
    low_ends = (np.arange(_FIRST_BUCKET, _LAST_BUCKET + 1, dtype=np.int32) << _BUCKET_SHIFT).view(np.float32)
    return bounds, np.searchsorted(bounds, low_ends, side="left").astype(np.int32)


def _half_gaussian(sigma: float) -> NDArray[np.float64]:
    """P(0), P(1), ... P(n) of a discretised Gaussian; n >= 1, the first with P(|k| > n) < ESCAPE_FLOOR."""

    def beyond(k: float) -> float:
        return math.erfc(k / (sigma * math.sqrt(2.0)))

    end = 1
    while beyond(end + 0.5) >= ESCAPE_FLOOR:
        end += 1
    tails = np.array([beyond(k + 0.5) for k in range(end + 1)])
    return np.concatenate([[1.0 - tails[0]], (tails[:-1] - tails[1:]) / 2])


def _with_escape(histogram: ArrayLike, escape_mass: float) -> NDArray[np.float64]:
    values = np.asarray(histogram, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0) or not values.sum() > 0:
        raise CoderError("a histogram must be 1-D, finite, without negative counts and not empty")
    if not 0.0 < escape_mass < 1.0:
        raise CoderError(f"escape mass must be in (0, 1), not {escape_mass}")
    return np.append(values * ((1.0 - escape_mass) / values.sum()), escape_mass)


def _quantise(mass: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts >= 1 that sum to TOTAL, by the method of largest remainders with a floor of one."""
    if mass.size > MAX_TABLE_SIZE:
        raise CoderError(f"a table has at most {MAX_TABLE_SIZE} entries, not {mass.size}")
    floored = np.zeros(mass.size, dtype=bool)
    while True:  # raising small entries to one shrinks the others, which may make more of them small
        share = mass * ((TOTAL - floored.sum()) / mass[~floored].sum())
        small = ~floored & (share < 1.0)
        if not small.any():
            break
        floored |= small
    counts = np.where(floored, 1, np.floor(share)).astype(np.int64)
    remainder = np.where(floored, -1.0, share - np.floor(share))
    counts[np.argsort(-remainder, kind="stable")[: TOTAL - int(counts.sum())]] += 1
    return counts


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size > MAX_ENTRIES:
        raise CoderError(f"coding tables: {name} must be a 1-D integer array of at most {MAX_ENTRIES}")
    if array.dtype == np.uint64 and array.size and array.max() > TOTAL:
        raise CoderError(f"coding tables: {name} is out of range")
    return array.astype(np.int64)


def _check_shape(counts: NDArray[np.int64], size: NDArray[np.int64], offset: NDArray[np.int64]) -> None:
    if not 1 <= size.size <= MAX_TABLES or size.size != offset.size:
        raise CoderError(f"coding tables: 1 to {MAX_TABLES} sizes are needed, and as many offsets")
    if size.min() < 2 or size.max() > MAX_TABLE_SIZE:
        raise CoderError(f"coding tables: a table has 2 to {MAX_TABLE_SIZE} entries, escape included")
    if counts.size > MAX_ENTRIES or int(size.sum()) != counts.size:
        raise CoderError(f"coding tables: {counts.size} counts for {int(size.sum())} entries, or too many")
    if np.any(offset < -SYMBOL_LIMIT) or np.any(offset > SYMBOL_LIMIT + 2 - size):
        raise CoderError(f"coding tables: symbols must be within -{SYMBOL_LIMIT} .. {SYMBOL_LIMIT}")


def _check_mass(counts: NDArray[np.int64], start: NDArray[np.int64]) -> None:
    if counts.min() < 1 or counts.max() > TOTAL:
        raise CoderError(f"coding tables: counts must be in 1 .. {TOTAL}")
    wrong = np.flatnonzero(np.add.reduceat(counts, start) != TOTAL)
    if wrong.size:
        raise CoderError(f"coding tables: the counts of table {wrong[0]} do not sum to {TOTAL}")


def _frozen(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    array = np.ascontiguousarray(values, dtype=dtype)
    array.flags.writeable = False
    return array
