"""PGD-E with low spatial frequencies only, which a smoothing defence lets pass.

The attacker knows the bundle and that a defence smooths, but attacks the rate of the undefended frame. The
band is a square of the orthonormal two-dimensional DCT-II of each colour plane (as in Guo et al., UAI
2018): frequencies below ``BAND`` of the highest, along both axes. The mask of the paper's released code
indexes batch and channel instead and filters nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from bench.attacks.budget import Linf
from bench.attacks.differentiable.target import Target
from bench.attacks.rate import most_bits
from bench.attacks.threat import Ascent

BAND = 1 / 8
"""Periods of 16 pixels and more."""


class LowFrequency(Linf):
    """|delta| <= eps, and delta inside the band. Only the clipping of frames to [0, 1] leaves the band."""

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Uniform noise, limited to the band."""
        return band_limited(super().start(generator))

    def ascend(self, delta: torch.Tensor, gradient: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        """A sign step along the gradient's part in the band."""
        return super().ascend(delta, band_limited(gradient), step)

    def inside(self, delta: torch.Tensor) -> torch.Tensor:
        """Into the box and back into the band."""
        return band_limited(super().inside(delta))


def band_limited(planes: torch.Tensor) -> torch.Tensor:
    """The part of planes (..., S, S) that is inside the band: an orthogonal projection."""
    size = planes.shape[-1]
    waves = dct_matrix(size)[: max(1, round(BAND * size))]
    return waves.T @ (waves @ planes @ waves.T) @ waves


@lru_cache(maxsize=4)
def dct_matrix(size: int) -> torch.Tensor:
    """Orthonormal DCT-II, float32 (size, size): row k is the wave of k half periods."""
    k, x = torch.arange(size).double()[:, None], torch.arange(size).double()
    matrix = torch.cos(math.pi * k * (x + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def low_frequencies(target: Target, images: torch.Tensor, eps: float) -> LowFrequency:
    """See ``LowFrequency``."""
    return LowFrequency(images, eps)


low_frequency = Ascent(most_bits, low_frequencies)
"""Most bytes, by low spatial frequencies only; knows no defence."""
