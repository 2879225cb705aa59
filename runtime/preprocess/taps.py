"""Pillow's bicubic resizing as tables of integers, so that CPU and GPU make the same pixels.

Pillow resizes 8-bit images in two passes, along rows and then along columns, and rounds to 8 bits after each.
A pass is a sum of a few pixels times weights of 22 fractional bits: integers, the same everywhere. From
Pillow 13 on it goes along columns first where an image is much taller than wide. We never do.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.fixed_point import WEIGHT_BITS

SUPPORT = 2.0
"""Reach of the bicubic kernel, in pixels of the smaller image."""


@dataclass(frozen=True)
class Taps:
    """What each pixel of the output takes along one axis.

    first: int32 (S,), its first pixel of the input; never less than the one before.
    weights: int32 (S, K), of that pixel and those that follow; 0 beyond those that it takes, and beyond the
        last pixel of the input.
    """

    first: NDArray[np.int32]
    weights: NDArray[np.int32]

    @functools.cached_property
    def count(self) -> NDArray[np.int64]:
        """int64 (S,): taps of each pixel of the output without the zeros behind them, 1 at least."""
        places = np.where(self.weights != 0, np.arange(self.weights.shape[1]), 0)
        return places.max(axis=1).astype(np.int64) + 1

    @functools.cached_property
    def span(self) -> tuple[int, int]:
        """The first pixel of the input that any takes, and the one behind the last."""
        return int(self.first[0]), int((self.first + self.count).max())


@functools.lru_cache(maxsize=32)
def bicubic(length: int, begin: float, end: float, size: int) -> Taps:
    """The taps that resize pixels ``begin`` to ``end`` of ``length`` to ``size``, with antialiasing."""
    low, high = np.float32(begin), np.float32(end)  # as Pillow takes the corners of its box
    scale = float(high - low) / size
    stretch = max(scale, 1.0)
    support = SUPPORT * stretch
    taps = int(np.ceil(support)) * 2 + 1
    centre = float(low) + (np.arange(size) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), length)
    place = first[:, None] + np.arange(taps)
    weights = _kernel((place - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[place >= last[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    scaled = weights * (1 << WEIGHT_BITS)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
    return Taps(first.astype(np.int32), rounded)


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -1/2, in Pillow's order of operations."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
