"""What a threat is, and the kind that most are: ascent of one objective inside one budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from bench.attacks.ascent import STEPS, Objective, Setting, ascend, schedule
from bench.attacks.budget import L2, Budget, Linf
from bench.attacks.differentiable.target import Target


class Threat(Protocol):
    """Perturbs a batch of images inside a budget."""

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
        """Frames as near to the attacker's aim as the budget allows.

        Args:
            target: what is attacked. Only the adaptive threats and ``provoke`` look at its defence.
            images: float32 (N, 3, S, S) in [0, 1].
            labels: int64 (N,), the class that the attacker wants to be missed: the truth, or what the network
                says of the clean frame.
            eps: the budget, in units of [0, 1]; see ``bench.attacks.budget`` for l_2.
            steps: gradients a run.
            seed: of the random starts; the same seed is the same attack.
            setting: see ``bench.attacks.ascent``.
            restarts: runs, of which each image keeps its best.

        Returns:
            float32 like ``images``, inside the budget and [0, 1]; ``to_uint8`` makes frames of them.
        """


Aim = Callable[[Target, torch.Tensor, torch.Tensor, Setting], Objective]
"""(target, clean images, labels, setting) -> what is to become large."""


def linf(target: Target, images: torch.Tensor, eps: float) -> Budget:
    """Every value, by at most eps."""
    return Linf(images, eps)


def l2(target: Target, images: torch.Tensor, eps: float) -> Budget:
    """Every value, by eps in the root mean square."""
    return L2(images, eps)


@dataclass(frozen=True)
class Ascent:
    """The threat that ascends ``aim`` inside ``budget``."""

    aim: Aim
    budget: Callable[[Target, torch.Tensor, float], Budget] = linf

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
        return ascend(
            self.aim(target, images, labels, setting),
            self.budget(target, images, eps),
            schedule(setting, steps, eps),
            seed=seed,
            restarts=restarts,
        )
