"""Intervals by the bootstrap: how far a mean over these images would move with other images of the kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
FEW = 20
"""Images below which an interval over images means nothing."""

CHUNK = 1 << 22  # indices drawn at once: 32 MB


def interval(
    values: NDArray[np.floating] | NDArray[np.bool_], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``values`` (n,), n >= 1, resampled with replacement."""
    return ratio_interval(values, np.ones(len(values)), seed, resamples)


def ratio_interval(
    values: NDArray[np.floating] | NDArray[np.bool_], reference: NDArray[np.floating], seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:  # fmt: skip
    """The same of sum(values) / sum(reference), both (n,) of the same images, which are drawn in pairs."""
    rng = np.random.default_rng(seed)
    count = len(values)
    each = max(1, CHUNK // count)
    above, below = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    ratios: list[float] = []
    while len(ratios) < resamples:
        drawn = rng.integers(0, count, (min(each, resamples - len(ratios)), count))
        ratios += (above[drawn].sum(axis=1) / below[drawn].sum(axis=1)).tolist()
    low, high = np.quantile(ratios, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def about_few(images: int) -> str:
    """What to say of so few images, instead of intervals; empty where they are enough."""
    if images >= FEW:
        return ""
    return f"Too few images ({images}) for intervals: {FEW} at least. What follows holds for these alone."
