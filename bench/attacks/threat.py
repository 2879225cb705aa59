"""The signature of a threat; threats that ascend one objective in an eps ball; checks of a caller's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from bench.attacks.ascent import STEPS, Objective, Setting, ascend, schedule
from bench.attacks.budget import L2, Budget, Linf, Norm, root_mean_square
from bench.attacks.differentiable.target import Target
from export.errors import ExtensionError

ROUNDING = 1e-5
"""By how much float32 arithmetic may leave an eps ball, in units of [0, 1]."""


class Threat(Protocol):
    """Perturbs a batch of images inside an eps ball."""

    def __call__(
        self,
        target: Target,
        images: torch.Tensor,
        labels: torch.Tensor,
        eps: float,
        *,
        steps: int = STEPS,
        seed: int = 0,
        setting: Setting = "unmasked",
        restarts: int = 1,
    ) -> torch.Tensor:
        """Frames as near to the attacker's aim as the eps ball allows.

        Args:
            target: the bundle under attack. Only the adaptive threats and ``provoke`` look at its defence.
            images: float32 (N, 3, S, S) in [0, 1].
            labels: int64 (N,), the class that the attacker wants to be missed: the truth, or the network's
                answer to the clean frame.
            eps: the perturbation bound, in units of [0, 1]; see ``bench.attacks.budget`` for l_2.
            steps: gradients a run.
            seed: of the random starts; the same seed is the same attack.
            setting: see ``bench.attacks.ascent``.
            restarts: runs; each image keeps the best of them.

        Returns:
            float32 like ``images``, inside the eps ball and [0, 1]; ``to_uint8`` makes frames of them.
        """


Aim = Callable[[Target, torch.Tensor, torch.Tensor, Setting], Objective]
"""(target, clean images, labels, setting) -> the objective of the ascent."""


def linf(target: Target, images: torch.Tensor, eps: float) -> Budget:
    """Every value, by at most eps."""
    return Linf(images, eps)


def l2(target: Target, images: torch.Tensor, eps: float) -> Budget:
    """Every value, by eps in the root mean square."""
    return L2(images, eps)


@dataclass(frozen=True)
class Ascent:
    """The threat that ascends ``aim`` inside the eps ball ``budget``.

    weaker: a threat in the same ball. Its frames are one more start, so that on each image this threat does
        at least as well at its own aim.
    """

    aim: Aim
    budget: Callable[[Target, torch.Tensor, float], Budget] = linf
    weaker: Threat | None = None

    def __call__(
        self,
        target: Target,
        images: torch.Tensor,
        labels: torch.Tensor,
        eps: float,
        *,
        steps: int = STEPS,
        seed: int = 0,
        setting: Setting = "unmasked",
        restarts: int = 1,
    ) -> torch.Tensor:
        """See ``Threat``."""
        begin = None
        if self.weaker is not None and setting == "unmasked":
            begin = self.weaker(target, images, labels, eps, steps=steps, seed=seed, restarts=restarts)
        return ascend(
            self.aim(target, images, labels, setting),
            self.budget(target, images, eps),
            schedule(setting, steps, eps),
            seed=seed,
            restarts=restarts,
            begin=begin,
        )


class CheckedThreat:
    """A caller's own threat, whose signature and results are checked.

    Raises ExtensionError: when it is made, for a callable without the arguments of a threat; when it is
    called, for a result of another shape or dtype, outside [0, 1], or outside the eps ball.
    """

    def __init__(self, name: str, threat: Threat, norm: Norm):
        self._name, self._threat, self._norm = name, threat, norm
        try:
            inspect.signature(threat).bind(
                None, None, None, 0.0, steps=1, seed=0, setting="unmasked", restarts=1
            )
        except TypeError as error:
            raise ExtensionError(
                f"threat {name}: {error}; a threat takes (target, images, labels, eps, *, steps, seed, "
                "setting, restarts)"
            ) from error

    def __call__(
        self,
        target: Target,
        images: torch.Tensor,
        labels: torch.Tensor,
        eps: float,
        *,
        steps: int = STEPS,
        seed: int = 0,
        setting: Setting = "unmasked",
        restarts: int = 1,
    ) -> torch.Tensor:
        """See ``Threat``."""
        attacked = self._threat(
            target, images.clone(), labels, eps, steps=steps, seed=seed, setting=setting, restarts=restarts
        )
        self._check(attacked, images, eps)
        return attacked.detach()

    def _check(self, attacked: torch.Tensor, images: torch.Tensor, eps: float) -> None:
        if not isinstance(attacked, torch.Tensor):
            raise ExtensionError(f"threat {self._name}: it returned {_kind(attacked)}, not a torch.Tensor")
        if attacked.shape != images.shape or attacked.dtype != images.dtype:
            raise ExtensionError(
                f"threat {self._name}: it returned {_described(attacked)} for {_described(images)}"
            )
        change = (attacked - images).detach()
        size = change.abs().amax() if self._norm == "linf" else root_mean_square(change).amax()
        if not float(size) <= eps + ROUNDING:  # also where it is not a number
            what = "a value" if self._norm == "linf" else "the root mean square"
            raise ExtensionError(
                f"threat {self._name}: it left its eps ball. It changed {what} by {255 * float(size):.2f}/255"
                f", {255 * eps:.2f}/255 is allowed"
            )
        low, high = float(attacked.min()), float(attacked.max())
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ExtensionError(
                f"threat {self._name}: its values reach from {low:.3f} to {high:.3f}, not 0 to 1"
            )


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
