"""What is done to an image before the head sees it, and how the head defends itself.

A benchmark runs every variant in ``VARIANTS``. Disturbances act on the prepared square, at the network's own
resolution, as the attacks of the literature do: on a larger photograph, resizing would average most of the
noise away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.guard import Guard

Image = NDArray[np.uint8]
NOISE = 4  # of 255


@dataclass(frozen=True)
class Variant:
    """One thing that is done to a photo.

    about: what it is, for the reader of a table; empty where there is nothing to say.
    disturb: uint8 (size, size, 3), seed -> uint8 of the same shape; None leaves the photo alone.
    guard: what the head does against it; None sends the frame as it is.
    """

    name: str
    about: str = ""
    disturb: Callable[[Image, int], Image] | None = None
    guard: Guard | None = None

    @property
    def key(self) -> str:
        """The name as part of a key of a report's summary."""
        return self.name.replace("+", "_")


def sign_noise(square: Image, seed: int, amplitude: int = NOISE) -> Image:
    """Add ``amplitude`` or take it away, at random for each value, clipped to 0..255."""
    signs = np.random.default_rng(seed).choice(np.array([-amplitude, amplitude], np.int16), square.shape)
    return np.clip(square.astype(np.int16) + signs, 0, 255).astype(np.uint8)


CLEAN = Variant("clean")
INPUTS = (CLEAN, Variant("noise", f"+-{NOISE} of 255, at random", sign_noise))
TWINS = tuple(
    (plain, replace(plain, name=f"{plain.name}+defended", guard=Guard("always"))) for plain in INPUTS
)
VARIANTS = tuple(variant for twins in TWINS for variant in twins)
