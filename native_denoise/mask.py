"""The soft mask: how strongly to smooth each pixel, from how likely the entropy model finds its latent.

The entropy model gives each symbol of y a likelihood p(y).  Their mean over the channels at one position is
large where the latent is what the model expects, in smooth background, and small on objects and where an
attack spends bits.  The paper resizes that map to the image and multiplies the denoiser's step by it: the
background is smoothed, the object is left alone.  That is ``soft_mask(likelihood, shape)``.

Variants, for what the plain map lacks:

- ``stretch=True``: the likelihoods of a frame rarely span [0, 1]; the least becomes 0 and the largest 1, so
  that the object is really left alone and the background really smoothed.  Useless on a frame without an
  object, whose noise it would blow up: spans below ``MIN_SPAN`` are left as they are.
- ``power``: values to this power.  Above 1 smooths less overall and concentrates on what is surely
  background; below 1 the opposite.
- ``threshold``: 1 at or above, 0 below, decided on the small map; resizing then blends over one position.
- ``MaskMemory``: in a video the previous frame's map serves for this frame, so that the defence needs one
  head pass and not two; what the memory forgets, it smooths evenly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DenoiseError

MIN_SPAN = 0.02
"""Least spread of a likelihood map that is stretched."""


def soft_mask(
    likelihood: NDArray[Any],
    shape: tuple[int, int],
    *,
    stretch: bool = False,
    power: float = 1.0,
    threshold: float | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Resize a likelihood map (h, w) in [0, 1] to a mask ``shape`` = (H, W), float32 in [0, 1].

    Stretch, then power, then threshold, on the small map; then bilinear interpolation between the centres
    of the positions, constant outside them (the convention of Pillow, OpenCV and torch with
    align_corners=False).
    """
    from .cpu.resize import resize  # Numba, half a second to import: only for who has a map

    small = np.asarray(likelihood, dtype=np.float32)
    if small.ndim != 2 or small.size == 0:
        raise DenoiseError(f"likelihood map must be 2-D and not empty, but its shape is {small.shape}")
    low, high = float(small.min()), float(small.max())
    if not (low >= -1e-5 and high <= 1 + 1e-5):  # true for NaN too
        raise DenoiseError(f"likelihoods must lie in [0, 1], but span [{low:g}, {high:g}]")
    if min(shape) < 1:
        raise DenoiseError(f"shape must be at least 1x1, not {shape}")
    check_power(power)
    if stretch and high - low >= MIN_SPAN:
        small = (small - np.float32(low)) / np.float32(high - low)
    if power != 1.0:
        small = np.clip(small, 0.0, 1.0) ** np.float32(power)
    if threshold is not None:
        small = (small >= threshold).astype(np.float32)
    return resize(np.clip(small, 0.0, 1.0), shape, out)


def check_power(power: float) -> None:
    """Raises DenoiseError for a ``power`` that ``soft_mask`` does not take."""
    if not power > 0:
        raise DenoiseError(f"power must be positive, not {power!r}")


class MaskMemory:
    """The mask of a video without a second head pass: last frame's likelihoods, fading.

    ``update`` takes the likelihood map that came with the frame just sent, ``mask`` gives the one for the
    next frame.  The memory is a moving average, m <- keep m + (1 - keep) map.  Each ``mask`` without an
    ``update`` in between moves it towards 1 (smooth evenly) by ``fade``, since what was an object may have
    left by now.
    """

    def __init__(self, keep: float = 0.5, fade: float = 0.1) -> None:
        if not (0.0 <= keep < 1.0 and 0.0 <= fade <= 1.0):
            raise DenoiseError(f"keep must lie in [0, 1) and fade in [0, 1], not {keep!r}, {fade!r}")
        self.keep, self.fade = keep, fade
        self._map: NDArray[np.float32] | None = None
        self._fresh = False

    def update(self, likelihood: NDArray[Any]) -> None:
        """Take in a likelihood map (h, w); one of another shape starts afresh."""
        new = np.asarray(likelihood, dtype=np.float32)
        if new.ndim != 2 or new.size == 0:
            raise DenoiseError(f"likelihood map must be 2-D and not empty, but its shape is {new.shape}")
        if self._map is None or self._map.shape != new.shape:
            self._map = new.copy()
        else:
            self._map = self.keep * self._map + (1.0 - self.keep) * new
        self._fresh = True

    def mask(self, shape: tuple[int, int], **variant: Any) -> NDArray[np.float32] | None:
        """``soft_mask`` of the memory with its options; None before the first ``update``."""
        if self._map is None:
            return None
        if not self._fresh:
            self._map = self._map + np.float32(self.fade) * (1.0 - self._map)
        self._fresh = False
        return soft_mask(self._map, shape, **variant)
