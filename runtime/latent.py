"""A coded latent: the streams of one frame, what they cost, and where in the image the bits are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from runtime.prior.base import Stream


@dataclass(frozen=True)
class Latent:
    """Streams in the order in which the decoder reads them; the last one is y.

    energy: float32 (C, P, P), the squared magnitude of each coefficient's basis function over its patch of
        P x P feature positions; each (P, P) sums to 1.
    shape: (C, H, W) of y.
    """

    streams: tuple[Stream, ...]
    energy: NDArray[np.float32]
    shape: tuple[int, int, int]

    @property
    def coarseness(self) -> int:
        """Coarseness of the steps of y (``runtime.codec.coarseness``)."""
        return self.streams[-1].coarseness

    @cached_property
    def bits(self) -> tuple[NDArray[np.float32], ...]:
        """Information content of each symbol, one float32 array a stream."""
        return tuple(stream.information_bits() for stream in self.streams)

    @property
    def expected_bits(self) -> float:
        """Information content of the frame under the shipped tables: the payload before rounding."""
        return float(sum(bits.sum(dtype=np.float64) for bits in self.bits))

    @cached_property
    def likelihood_map(self) -> NDArray[np.float32]:
        """Mean likelihood of y at each feature position, float32 (H P, W P) in (0, 1].

        The map is large in the background and small on what costs bits: it is the paper's soft mask before
        resizing. A coefficient's likelihood is weighted by the energy of its basis function.
        """
        from runtime.codec import pricing  # Numba takes half a second to import

        channels, height, width = self.shape
        patch = self.energy.shape[1]
        likelihood = np.exp2(-self.bits[-1]).reshape(channels, height * width)
        spread = np.empty((patch, patch, height, width), dtype=np.float32)
        pricing.spread(likelihood, self.energy.reshape(channels, -1), spread.reshape(-1, height * width))
        return spread.transpose(2, 0, 3, 1).reshape(height * patch, width * patch)
