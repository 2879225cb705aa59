"""Tell attacked frames from clean ones by the bits that each channel of y costs: Fisher's discriminant.

An attack on the rate wakes coefficients that photographs leave asleep. A few hundred frames of both kinds
give the direction in which they differ most against the spread of clean frames; clean frames that the fit
has not seen give the threshold. The bits of all channels together tell less: at 2/255 they leave a third of
the attacked frames below the 99th percentile of clean ones, the discriminant one in twenty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEVIATIONS = 4.5
"""Threshold, in standard deviations above the mean of clean frames. Their tail is heavier than Gaussian,
and photographs of another origin than those of the fit sit higher: about one in a hundred is suspected."""

SHRINKAGE = 0.3
"""Of the covariance towards a multiple of the identity: there are about as many channels as frames."""


def discriminant(
    clean: NDArray[np.float32], attacked: NDArray[np.float32], held_out: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Weights (C,) and bias of a score that is positive for attacked frames.

    The score counts standard deviations of clean frames above the threshold.

    Args:
        clean, attacked: features (n, C) of frames to fit, as ``runtime.guard`` computes them.
        held_out: features of other clean frames, which place the threshold.
    """
    spread = (1 - SHRINKAGE) * np.cov(clean, rowvar=False)
    spread[np.diag_indices_from(spread)] += SHRINKAGE * np.trace(spread) / len(spread) / (1 - SHRINKAGE)
    weights = np.linalg.solve(spread, attacked.mean(0) - clean.mean(0))
    scores = held_out @ weights
    weights /= scores.std()
    return weights.astype(np.float32), -float(scores.mean() / scores.std()) - DEVIATIONS
