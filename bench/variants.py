"""What is done to an image before the head sees it. A benchmark runs every variant in ``VARIANTS``.

Variants act on the prepared square, at the network's own resolution, as the attacks of the literature do:
on a larger photograph, resizing would average most of the noise away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
NOISE = 4  # of 255


@dataclass(frozen=True)
class Variant:
    """One thing that is done to a photo.

    about: what it is, for the reader of a table; empty where there is nothing to say.
    disturb: uint8 (size, size, 3), seed -> uint8 of the same shape; None leaves the photo alone.
    """

    name: str
    about: str = ""
    disturb: Callable[[Image, int], Image] | None = None


def sign_noise(square: Image, seed: int, amplitude: int = NOISE) -> Image:
    """Add ``amplitude`` or take it away, at random for each value, clipped to 0..255."""
    signs = np.random.default_rng(seed).choice(np.array([-amplitude, amplitude], np.int16), square.shape)
    return np.clip(square.astype(np.int16) + signs, 0, 255).astype(np.uint8)


CLEAN = Variant("clean")
VARIANTS = (CLEAN, Variant("noise", f"+-{NOISE} of 255, at random", sign_noise))
