"""Fit the look-up of an exact h_s to photographs: which table codes which scale.

A scale from integer arithmetic carries some noise, and a scale too small costs more bits than one too large.
So each scale gets the table that codes its symbols in the fewest bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import SCALES, gaussian_tables
from runtime.prior.exact import IntegerNetwork

FINE = 64  # scales below so many steps are fitted one by one, larger ones in groups of one table
ENOUGH = 300  # symbols to choose a table by: with fewer the nearest table stays
FAR = 64  # larger magnitudes count as this one: both ask for a larger scale


def fit_rungs(network: IntegerNetwork, y: torch.Tensor, symbols: torch.Tensor) -> IntegerNetwork:
    """The network with the look-up (rungs) that codes ``y``, float32 (N, C, H, W), in the fewest bits.

    ``symbols``: of z, whole numbers. Rungs never descend.
    """
    assert network.rungs is not None
    nearest = network.rungs
    group = np.where(np.arange(len(nearest)) < FINE, np.arange(len(nearest)), FINE + nearest)
    counts = _histograms(network, group, y, symbols)
    magnitude = np.arange(FAR + 1, dtype=np.int32)
    tables = gaussian_tables()
    price = np.stack(
        [tables.information_bits(magnitude, np.full_like(magnitude, t)) for t in range(len(SCALES))]
    )
    best = (counts @ price.T.astype(np.float64)).argmin(1)
    known = np.flatnonzero(counts.sum(1)[group] >= ENOUGH)
    return replace(network, rungs=_joined(nearest, known, best[group[known]]))


def _joined(
    nearest: NDArray[np.int32], known: NDArray[np.int64], best: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Rungs that rise through the known ones, linear in between, near to ``nearest`` outside."""
    if not known.size:
        return nearest
    first, last = known[0], known[-1]
    rising = np.maximum.accumulate(best)
    rungs = np.interp(np.arange(len(nearest)), known, rising)
    rungs[:first] = np.minimum(nearest[:first], rising[0])
    rungs[last:] = np.maximum(nearest[last:], rising[-1])
    rungs[last] = rising[-1]
    return np.rint(rungs).astype(np.int32)


def _histograms(
    network: IntegerNetwork, group: NDArray[np.int64], y: torch.Tensor, symbols: torch.Tensor
) -> NDArray[np.float64]:
    """Counts of the magnitudes of symbols of y by their scale's group, (groups, FAR + 1)."""
    size = FINE + len(SCALES)
    counts = np.zeros(size * (FAR + 1))
    unread = replace(network, rungs=None)
    for one_y, one_z in zip(y.numpy(), symbols.numpy().astype(np.int32), strict=True):
        scale, mean = np.split(unread(one_z), 2)
        magnitude = np.minimum(np.abs(np.rint(one_y - mean / MEAN_STEPS)), FAR).astype(np.int64)
        cell = group[np.clip(scale, 0, len(group) - 1)] * (FAR + 1) + magnitude
        counts += np.bincount(cell.ravel(), minlength=counts.size)
    return counts.reshape(size, FAR + 1)
