"""A prior of your own, beside a bundle's: each channel is a Gaussian, one number instead of a table.

prior = gaussian_prior(bundle, latents)
streams = prior.code(y)
bits = sum(stream.total_bits()[0] for stream in streams)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.codec.tables import SCALES, gaussian_tables, scale_index
from runtime.prior.factorized import FactorizedPrior


def gaussian_prior(bundle: Bundle, latents: Sequence[NDArray[np.float32]]) -> FactorizedPrior:
    """A prior fitted to ``latents``, y of some photographs, float32 (1, C, H, W) each."""
    y = np.concatenate(latents)
    deviation = np.sqrt(np.mean(np.square(y), axis=(0, 2, 3)))
    return FactorizedPrior(gaussian_tables(SCALES[scale_index(deviation)]), bundle.manifest.latent)
