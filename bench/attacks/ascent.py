"""The common loop: projected gradient ascent (Madry et al., 2018) with restarts, each image's best kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from bench.attacks.budget import Budget
from bench.attacks.differentiable.straight_through import as_pixels

Setting = Literal["unmasked", "released"]
"""``unmasked``: gradients pass every rounding, the best iterate counts. ``released``: as the paper's code."""

STEPS = 20
"""Gradients a run."""

RELEASED_STEP = 0.1
"""Length of each step of the released code, in units of [0, 1], whatever eps is."""


@dataclass(frozen=True)
class Schedule:
    """How an ascent runs.

    steps: length of each step, in units of [0, 1].
    random_start: whether a run starts at a random place of the ball, or at the image.
    keep_best: whether the best iterate counts, or the last.
    """

    steps: tuple[float, ...]
    random_start: bool
    keep_best: bool


def schedule(setting: Setting, steps: int, eps: float) -> Schedule:
    """The schedule of a setting in a ball of ``eps``."""
    if setting == "released":
        return Schedule((RELEASED_STEP,) * steps, random_start=False, keep_best=False)
    return Schedule(tuple(eps * (1 - k / steps) for k in range(steps)), random_start=True, keep_best=True)


Objective = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 3, S, S) -> the attacker's aim, (N,), differentiable; each value from its image alone."""


def ascend(
    objective: Objective, budget: Budget, schedule: Schedule, *, seed: int = 0, restarts: int = 1
) -> torch.Tensor:
    """Frames inside the eps ball ``budget`` with a large ``objective``, which sees them rounded to 8 bits.

    Every iterate is judged, the last included. Each image keeps its best iterate of all runs.
    """
    generator = torch.Generator().manual_seed(seed)
    best = budget.frames(budget.zero())
    most = torch.full((len(best),), -torch.inf)
    for _ in range(restarts):
        delta = budget.start(generator) if schedule.random_start else budget.zero()
        for step in (*schedule.steps, None):
            frames = budget.frames(delta).detach().requires_grad_(step is not None)
            value = objective(as_pixels(frames))
            if schedule.keep_best or step is None:
                better = value.detach() > most
                most = torch.where(better, value.detach(), most)
                best = torch.where(better.view(-1, 1, 1, 1), frames.detach(), best)
            if step is not None:
                (gradient,) = torch.autograd.grad(value.sum(), frames)
                delta = budget.ascend(delta, gradient, step)
    return best
