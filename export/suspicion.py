"""Tell unusual frames from clean ones by the bits that each channel of y costs: Fisher's discriminant.

An attack on the rate wakes coefficients that photographs leave asleep; snow, mud, a noisy sensor or a codec
do it each in their own way. A few hundred frames of a kind and of clean photographs give the direction in
which they differ most against their spread; clean frames that the fit has not seen give the threshold. The
bits of all channels together tell less: at 2/255 they leave a third of the attacked frames below the 99th
percentile of clean ones, the discriminant one in twenty.
"""

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
        clean, unusual: features (n, C) of frames to fit, as ``runtime.guard`` computes them.
        held_out: features of other clean frames, which set the unit.
        pooled: take the spread of both kinds, not only of clean frames. It finds more of a kind that always
            looks like the frames it was fitted to, and less of an attacker, who need not.
    """
    spread = np.cov(clean, rowvar=False)
    if pooled:
        spread = (spread + np.cov(unusual, rowvar=False)) / 2
    spread = (1 - SHRINKAGE) * spread
    spread[np.diag_indices_from(spread)] += SHRINKAGE * np.trace(spread) / len(spread) / (1 - SHRINKAGE)
    weights = np.linalg.solve(spread, unusual.mean(0) - clean.mean(0))
    unit: NDArray[np.float32] = (weights / (held_out @ weights).std()).astype(np.float32)
    return unit
