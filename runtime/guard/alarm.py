"""The alarm: whether the first pass of a frame looks attacked, or corrupted by weather, a sensor or a codec.

It sees only the bits of each channel of y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import BundleError
from runtime.latent import Latent


@dataclass(frozen=True)
class Suspicion:
    """What a first pass looks like.

    attack, corruption: scores; above 0 it looks like a frame that an attacker has perturbed, or like one that
        weather, a sensor or a codec has made dearer; -inf where the bundle cannot tell or the frame is cheap.
    """

    attack: float
    corruption: float = -np.inf


Score = Callable[[Latent], Suspicion]

CEILING = 1.15
"""Factor of the bits at ``QUANTILE``: a frame above it is suspicious whatever the discriminant says. An
attacker who knows the weights can hold the score down while the bytes grow: by 65 % at 4/255 without this."""

QUANTILE = 0.99
"""Quantile of the bits of clean frames: the threshold without a discriminant, and the bits above which no
frame is ordinary."""

CHEAP = 0.25
"""Quantile of the bits of clean frames: no frame below it looks corrupted. It has no bytes to save, and the
adapted head was not taught blur, so blurred frames would lose answers."""


class Watch:
    """Remembers suspicion over the frames of a video.

    ``hold`` frames after a suspicious one are defended and not looked at; then one is, to see whether the
    attack is over. So an attacker makes the device pay for two looks at one frame in ``hold`` + 1.
    """

    def __init__(self, hold: int):
        self._hold, self._left = hold, 0

    @property
    def holding(self) -> bool:
        """Whether the next frame is defended whatever it shows."""
        return self._left > 0

    def passed(self, suspicious: bool) -> None:
        """Take note of a frame: it looked suspicious, or it did not, or was not looked at."""
        self._left = self._hold if suspicious else max(0, self._left - 1)

    def forget(self) -> None:
        """Forget the frames before, as at a cut."""
        self._left = 0


def features(latent: Latent) -> NDArray[np.float32]:
    """What the discriminant looks at: the bits of each channel of y, all positions together, float32 (C,)."""
    return latent.streams[-1].total_bits(latent.shape[0])


@dataclass(frozen=True)
class Excess:
    """Relative excess of the expected bits over a number of them."""

    bits: float

    def __call__(self, latent: Latent) -> Suspicion:
        """Suspicion of a first pass."""
        return Suspicion(self.of(latent, features(latent)))

    def of(self, latent: Latent, y: NDArray[np.float32]) -> float:
        """The excess, given the bits of each channel of y, float32 (C,), so that y is priced only once."""
        rest = sum(float(stream.total_bits()[0]) for stream in latent.streams[:-1])
        return (float(y.sum()) + rest) / self.bits - 1.0


@dataclass(frozen=True)
class Discriminant:
    """Fisher's linear discriminants between clean frames and each of K kinds of corruption, fitted at export.

    weights: float32 (1 + K, C), bias: float32 (1 + K,); scores are the product with ``features``, plus the
        bias. The first score is of attacks, each other of a kind of corruption; the highest of them counts.
    ceiling: a frame also looks attacked by its excess over this many bits.
    cheap: bits; a frame with at most so many does not look corrupted.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    ceiling: Excess
    cheap: float

    def __call__(self, latent: Latent) -> Suspicion:
        """Suspicion of a first pass."""
        y = features(latent)
        attack, *kinds = (self.weights @ y + self.bias).tolist()
        excess = self.ceiling.of(latent, y)
        dear = (1 + excess) * self.ceiling.bits > self.cheap
        return Suspicion(max(attack, excess), max(kinds) if kinds and dear else -np.inf)


def open_score(bundle: Bundle) -> Score:
    """How a bundle scores frames: its discriminant, or the bits of clean frames where it has none.

    Raises BundleError when either does not fit the bundle.
    """
    bits = bundle.manifest.clean_quantile(QUANTILE)
    if not 0.0 < bits < np.inf:
        raise BundleError(
            f"bundle {bundle.manifest.name}: the bits of clean frames are not known; build it again"
        )
    return _discriminant(bundle, CEILING * bits) if "guard" in bundle.manifest.files else Excess(bits)


def _discriminant(bundle: Bundle, ceiling: float) -> Discriminant:
    arrays, channels = bundle.arrays("guard"), bundle.manifest.latent[0]
    weights, bias = (np.asarray(arrays.get(name)) for name in ("discriminants", "bias"))
    shapes = ((weights, (bias.size, channels)), (bias, (bias.size,)))
    fits = bias.size and all(
        array.dtype == np.float32 and array.shape == shape and bool(np.isfinite(array).all())
        for array, shape in shapes
    )
    if not fits or set(arrays) != {"discriminants", "bias"}:
        raise BundleError(
            f"bundle {bundle.manifest.name}: its guard needs finite float32 discriminants (1 + kinds, "
            f"{channels}) and bias (1 + kinds,), no more; fit its alarm again (python -m export alarm)"
        )
    return Discriminant(weights, bias, Excess(ceiling), bundle.manifest.clean_quantile(CHEAP))
