"""The bound of a perturbation: its eps ball, its box, and the 8 bits in which it arrives.

A ``Budget`` starts perturbations, (N, 3, S, S) in units of [0, 1], and takes steps of ascent inside its eps
ball. It makes frames of them, clipped to [0, 1]. In both norms eps is a difference in grey level. The ball of
``L2`` holds the perturbations whose root mean square is at most eps: its Euclidean radius is eps sqrt(3 S S).
At one eps the l_inf ball therefore lies inside the l_2 ball.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Norm = Literal["linf", "l2"]


class Budget(Protocol):
    """The perturbations of one batch of images that an attacker may choose from: an eps ball."""

    def zero(self) -> torch.Tensor:
        """No perturbation."""

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """A random perturbation inside the ball."""

    def ascend(self, delta: torch.Tensor, gradient: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        """The steepest step, ``step`` long in units of [0, 1], and back into the ball.

        step: of all images, or of each, (N, 1, 1, 1).
        """

    def inside(self, delta: torch.Tensor) -> torch.Tensor:
        """The nearest perturbation inside the ball."""

    def frames(self, delta: torch.Tensor) -> torch.Tensor:
        """The perturbed images, inside ball and [0, 1]."""


class Linf:
    """|delta| <= eps in every value. Where ``allowed`` (N or 1, 1, S, S) is given, only where it is 1."""

    def __init__(self, images: torch.Tensor, eps: float, allowed: torch.Tensor | None = None):
        reach = eps if allowed is None else eps * allowed
        self._images, self._eps, self._reach = images, eps, reach
        self._low, self._high = (images - reach).clamp(min=0), (images + reach).clamp(max=1)

    def zero(self) -> torch.Tensor:
        """See ``Budget.zero``."""
        return torch.zeros_like(self._images)

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Uniform in the ball."""
        return self._reach * (2 * torch.rand(self._images.shape, generator=generator) - 1)

    def ascend(self, delta: torch.Tensor, gradient: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        """A sign step."""
        return self.inside(delta + step * gradient.sign())

    def inside(self, delta: torch.Tensor) -> torch.Tensor:
        """See ``Budget.inside``."""
        return self.frames(delta) - self._images

    def frames(self, delta: torch.Tensor) -> torch.Tensor:
        """See ``Budget.frames``."""
        return torch.minimum(torch.maximum(self._images + delta, self._low), self._high)


class L2:
    """Root mean square of delta <= eps."""

    def __init__(self, images: torch.Tensor, eps: float):
        self._images, self._eps = images, eps

    def zero(self) -> torch.Tensor:
        """See ``Budget.zero``."""
        return torch.zeros_like(self._images)

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Of a random direction, half the radius long."""
        noise = torch.randn(self._images.shape, generator=generator)
        return 0.5 * self._eps * noise / root_mean_square(noise)

    def ascend(self, delta: torch.Tensor, gradient: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        """A step along the gradient."""
        return self.inside(delta + step * gradient / root_mean_square(gradient))

    def frames(self, delta: torch.Tensor) -> torch.Tensor:
        """Clipping to [0, 1] only shortens a perturbation."""
        return (self._images + self.inside(delta)).clamp(0, 1)

    def inside(self, delta: torch.Tensor) -> torch.Tensor:
        """See ``Budget.inside``."""
        return delta * (self._eps / root_mean_square(delta)).clamp(max=1)


def to_uint8(
    attacked: torch.Tensor, originals: NDArray[np.uint8], eps: float, norm: Norm = "linf"
) -> NDArray[np.uint8]:
    """Frames uint8 (N, S, S, 3) as a camera would send them, exactly in the eps ball around ``originals``.

    Rounds to the nearest level. Under ``linf`` the whole levels that eps allows then limit each change.
    Under ``l2`` values whose rounding went outwards go back a level, the largest gains first, until the sum
    of squares fits. ``attacked`` is float32 (N, 3, S, S) in [0, 1], ``originals`` uint8 (N, S, S, 3).
    """
    wanted = 255 * attacked.detach().permute(0, 2, 3, 1).double().numpy()
    start = originals.astype(np.float64)
    change = np.rint(np.clip(wanted, 0, 255)) - start
    if norm == "linf":
        change = np.clip(change, -levels(eps), levels(eps))
    else:
        limit = (255 * eps) ** 2 * start[0].size
        exact = np.clip(wanted, 0, 255) - start
        change = np.stack([_shortened(c, e, limit) for c, e in zip(change, exact, strict=True)])
    return (start + change).astype(np.uint8)


def levels(eps: float) -> int:
    """The most whole levels of 255 that a value may change by."""
    nearest = round(255 * eps)
    return nearest if nearest / 255 <= eps else nearest - 1


def _shortened(change: NDArray[np.float64], exact: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Whole ``change`` with a sum of squares of at most ``limit``: entries go back one step towards zero."""
    flat = change.ravel().copy()
    while (excess := float((flat**2).sum()) - limit) > 0:
        magnitude = np.abs(flat)
        outwards = np.where(magnitude > 0, magnitude - np.abs(exact.ravel()), -math.inf)
        order = np.argsort(-outwards, kind="stable")
        saved = np.cumsum(np.where(magnitude > 0, 2 * magnitude - 1, 0)[order])
        back = order[: int(np.searchsorted(saved, excess)) + 1]
        flat[back] -= np.sign(flat[back])
    return flat.reshape(change.shape)


def root_mean_square(values: torch.Tensor) -> torch.Tensor:
    """Root mean square of each image, (N, 1, 1, 1), never zero."""
    return values.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
