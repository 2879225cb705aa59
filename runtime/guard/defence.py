"""The defence: smooth the image where the entropy model expects little, then look at it again.

    prepared image --head, prior--> likelihood map --soft mask--> TV denoising
                   --shield, prior--> coarser steps, rate control --> what is sent

The second look is the *shield*'s, a head that was trained on disturbed images, where the bundle has one, else
the head's again. ``Defence`` says how, ``Defender`` masks and denoises the frames of one Head; which frames,
``runtime.guard`` decides. See docs/denoise.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise import DenoiseError, MaskMemory, Settings, denoise_planar, settings, soft_mask
from native_denoise.mask import check_power
from runtime.codec.coarseness import COARSEST
from runtime.codec.rate_control import MAX_WEIGHT
from runtime.errors import DefenceError
from runtime.latent import Latent

WEIGHT, ITERATIONS = 0.02, 30
"""Of ``descent`` when none are given: a fifth of the paper's smoothing, in less than a third of its steps."""

COARSENESS, RATE_CONTROL = 4, 0.02
"""With a shield the best of a grid together with ``WEIGHT`` (docs/results.md)."""


@dataclass(frozen=True)
class Defence:
    """How to denoise a frame before it is sent. Raises DefenceError for what makes no sense.

    mode: ``descent``, ``rof`` or ``released``.
    weight: lambda >= 0, in units of an image in [0, 1]; larger smooths more; None is the mode's default:
        ``WEIGHT`` for ``descent``, that of ``native_denoise.modes`` for the others.
    iterations: steps, for ``rof`` with a tolerance the most that it takes; None is ``ITERATIONS`` for
        ``descent`` and 100 for the others.
    tolerance: for ``rof`` alone: largest RMS distance to the exact minimiser, in units of the image; None is
        1/255, or as close as ``iterations`` steps come where they are given.
    stretch, power, threshold: variants of the soft mask (``native_denoise.mask``).
    reuse_mask: for video: the mask comes from the frames before (``native_denoise.MaskMemory``), so that only
        the first frame pays for a head pass of its own. Only where every frame is defended.
    coarseness: of the steps of the defended latent (``runtime.codec.coarseness``), 0 to 63; larger sends
        fewer bytes; 0 takes the bundle's.
    rate_control: lambda >= 0 of ``runtime.codec.rate_control`` on it, in squared steps a bit; larger sends
        fewer bytes; 0 rounds.
    """

    mode: str = "descent"
    weight: float | None = None
    iterations: int | None = None
    tolerance: float | None = None
    stretch: bool = False
    power: float = 1.0
    threshold: float | None = None
    reuse_mask: bool = False
    coarseness: int = COARSENESS
    rate_control: float = RATE_CONTROL

    def __post_init__(self) -> None:
        with _errors_of_defence():
            self.solver()
            check_power(self.power)
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise DefenceError(f"threshold must be a likelihood from 0 to 1, not {self.threshold!r}")
        if not (isinstance(self.coarseness, int) and 0 <= self.coarseness <= COARSEST):
            raise DefenceError(f"coarseness must be a whole number to {COARSEST}, not {self.coarseness!r}")
        if not 0 <= self.rate_control <= MAX_WEIGHT:
            raise DefenceError(
                f"rate_control must be a number from 0 to {MAX_WEIGHT:g}, not {self.rate_control!r}"
            )

    def solver(self) -> Settings:
        """What the denoiser is told, complete with the mode's defaults."""
        weight, iterations = self.weight, self.iterations
        if self.mode == "descent":
            weight = WEIGHT if weight is None else weight
            iterations = ITERATIONS if iterations is None else iterations
        return settings(self.mode, weight, iterations, self.tolerance)

    def mask_variant(self) -> dict[str, Any]:
        """What ``soft_mask`` is told."""
        return {"stretch": self.stretch, "power": self.power, "threshold": self.threshold}


class Defender:
    """Masks and denoises prepared frames of one size. What it returns is overwritten by its next frame.

    Args:
        defence: how.
        size: side of the prepared frames, in pixels.
        threads: of the denoiser; None: as many as there are cores and it pays.
    """

    def __init__(self, defence: Defence, size: int, threads: int | None):
        self._defence, self._solver, self._threads = defence, defence.solver(), threads
        self._shape = (size, size)
        self._mask = np.empty(self._shape, dtype=np.float32)
        self._denoised = np.empty((1, 3, size, size), dtype=np.float32)
        self._memory = MaskMemory()
        self._sent: Latent | None = None

    def mask(self, latent: Latent) -> NDArray[np.float32]:
        """Where to smooth the frame that has this latent: float32 (S, S) in [0, 1], small on its object."""
        variant = self._defence.mask_variant()
        with _errors_of_defence():
            return soft_mask(latent.likelihood_map, self._shape, out=self._mask, **variant)

    def recall_mask(self) -> NDArray[np.float32] | None:
        """The same from the frames before that were remembered; None where there is none."""
        with _errors_of_defence():
            if self._sent is not None:
                self._memory.update(self._sent.likelihood_map)
                self._sent = None
            return self._memory.mask(self._shape, out=self._mask, **self._defence.mask_variant())

    def denoise(self, prepared: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoised copy of a prepared frame, float32 (1, 3, S, S) in [0, 1]."""
        with _errors_of_defence():
            denoise_planar(prepared, mask[None], self._solver, self._denoised, threads=self._threads)
        return self._denoised

    def remember(self, sent: Latent) -> None:
        """Keep the latent of a defended frame; its map is made when the next frame needs it."""
        self._sent = sent

    def forget(self) -> None:
        """Forget the frames before, as at a cut: the next mask is of its own frame again."""
        self._memory, self._sent = MaskMemory(), None


@contextmanager
def _errors_of_defence() -> Iterator[None]:
    try:
        yield
    except DenoiseError as error:
        raise DefenceError(str(error)) from error
