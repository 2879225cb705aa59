"""Variants of an input: what disturbs the image, and which guard the head has.

The benchmark runs each photograph in every variant of ``VARIANTS`` that the photograph has. Disturbances act
on the prepared square, at the network's own resolution, as the attacks of the literature do. On a larger
photograph, resizing would average most of the noise away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.common.attack_pack import attacked
from runtime.guard import Guard

Image = NDArray[np.uint8]
NOISE = 4  # of 255


@dataclass(frozen=True)
class Disturbance:
    """One variant of a photograph.

    about: what it is, for the reader of a table; empty where there is nothing to say.
    disturb: name of the photo and its square, uint8 (size, size, 3) -> the same shape, or None where this
        photo has no such version; None leaves the photo alone.
    guard: what the head does against it; None sends the frame as it is.
    """

    name: str
    about: str = ""
    disturb: Callable[[str, Image], Image | None] | None = None
    guard: Guard | None = None

    @property
    def key(self) -> str:
        """The name as part of a key of a report's summary."""
        return self.name.replace("+", "_")


def sign_noise(square: Image, seed: int = 0, amplitude: int = NOISE) -> Image:
    """Add ``amplitude`` or take it away, at random for each value, clipped to 0..255."""
    signs = np.random.default_rng(seed).choice(np.array([-amplitude, amplitude], np.int16), square.shape)
    return np.clip(square.astype(np.int16) + signs, 0, 255).astype(np.uint8)


CLEAN = Disturbance("clean")
NOISY = Disturbance("noise", f"+-{NOISE} of 255, at random", lambda _, square: sign_noise(square))
ATTACKED = Disturbance("attacked", "PGD-E, as the attack pack has it", attacked)

DEFENDED = tuple(
    (plain, replace(plain, name=f"{plain.name}+defended", guard=Guard("always", budget=None)))
    for plain in (CLEAN, NOISY)
)
"""Inputs undefended, and with every frame defended: what the defence costs, without a budget."""

GUARDED = tuple(
    (plain, replace(plain, name=f"{plain.name}+guard", guard=Guard("auto"))) for plain in (CLEAN, ATTACKED)
)
"""Inputs without and with the guard and its budget: what an attack costs, and what the guard saves."""

VARIANTS = (*DEFENDED[0], GUARDED[0][1], *DEFENDED[1], *GUARDED[1])
