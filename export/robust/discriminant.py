"""Fisher's linear discriminant: weights whose score tells unusual frames from clean ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 0.3
"""Of the covariance towards a multiple of the identity: there are about as many channels as frames."""


def discriminant(
    clean: NDArray[np.float32], unusual: NDArray[np.float32], held_out: NDArray[np.float32], pooled: bool
) -> NDArray[np.float32]:
    """Weights float32 (C,) of a score that is high for unusual frames, in standard deviations of clean ones.

    Args:
        clean, unusual: features (n, C) of frames to fit, as ``runtime.guard.alarm`` computes them.
        held_out: features of other clean frames, which set the unit.
        pooled: use the spread of both groups, not of clean frames alone. The score then finds more of a kind
            that always looks like the fitted frames, and less of an attacker, who can look otherwise.
    """
    spread = np.cov(clean, rowvar=False)
    if pooled:
        spread = (spread + np.cov(unusual, rowvar=False)) / 2
    spread = (1 - SHRINKAGE) * spread
    spread[np.diag_indices_from(spread)] += SHRINKAGE * np.trace(spread) / len(spread) / (1 - SHRINKAGE)
    weights = np.linalg.solve(spread, unusual.mean(0) - clean.mean(0))
    unit: NDArray[np.float32] = (weights / (held_out @ weights).std()).astype(np.float32)
    return unit
