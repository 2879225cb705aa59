"""The common loop: projected gradient ascent with momentum, adaptive steps and restarts.

The steps are those of APGD (Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble
of diverse parameter-free attacks", ICML 2020) on a line that falls to zero. An image that has stopped rising
at a checkpoint gets steps of half the length and goes on from its best place. The checkpoints come closer
together towards the end. At 20 steps the falling line is worth 15 points of bytes at 4/255, at 100 steps
nothing; a rate has many small gains, which only short steps find.
"""

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

FIRST_STEP = 1.0
"""Length of the first step, over eps."""

MOMENTUM = 0.25
"""Share of the last move in the next one."""

ENOUGH_RISES = 0.75
"""Share of the steps since the last checkpoint that have to rise, or the steps become shorter."""

FIRST_PERIOD, SHORTER, LEAST_PERIOD = 0.22, 0.03, 0.06
"""Distances of the checkpoints: the first, by how much each is shorter, the least; over all steps."""


@dataclass(frozen=True)
class Schedule:
    """How an ascent runs.

    steps: gradients a run.
    length: of the first step, in units of [0, 1].
    adaptive: as above, from a random place of the ball. Else all steps are of one length and without
        momentum, the first from the image itself, and the last iterate counts.
    """

    steps: int
    length: float
    adaptive: bool = True


def schedule(setting: Setting, steps: int, eps: float) -> Schedule:
    """The schedule of a setting in a ball of ``eps``."""
    if setting == "released":
        return Schedule(steps, RELEASED_STEP, adaptive=False)
    return Schedule(steps, FIRST_STEP * eps)


def checkpoints(steps: int) -> frozenset[int]:
    """After how many of so many steps the length is looked at."""
    found, at, period = set[int](), 0.0, FIRST_PERIOD
    while (at := at + period) < 1:
        found.add(max(1, round(at * steps)))
        period = max(period - SHORTER, LEAST_PERIOD)
    return frozenset(found - {steps})


Objective = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 3, S, S) -> the attacker's aim, (N,), differentiable; each value from its image alone."""


def ascend(
    objective: Objective,
    budget: Budget,
    schedule: Schedule,
    *,
    seed: int = 0,
    restarts: int = 1,
    begin: torch.Tensor | None = None,
) -> torch.Tensor:
    """Frames inside the eps ball ``budget`` with a large ``objective``, which sees them rounded to 8 bits.

    Every iterate is judged, the image itself and the last included. Each image keeps its best of all runs;
    under ``released`` it takes the last of one run. ``begin``: frames inside the ball that are judged as
    well, and that one more run starts from; ``released`` ignores them.
    """
    if not schedule.adaptive:
        return _released(objective, budget, schedule)
    generator = torch.Generator().manual_seed(seed)
    images = budget.frames(budget.zero())
    best, most = images, _value(objective, images)
    starts = [budget.start(generator) for _ in range(restarts)]
    if begin is not None:
        best, most = _better(best, most, begin, _value(objective, begin))
        starts.append(begin - images)
    for start in starts:
        best, most = _better(best, most, *_adaptive(objective, budget, schedule, start))
    return best


def _released(objective: Objective, budget: Budget, schedule: Schedule) -> torch.Tensor:
    """The last frames of the released schedule, which draws nothing."""
    delta = budget.zero()
    for _ in range(schedule.steps):
        _, gradient = _climb(objective, budget.frames(delta))
        delta = budget.ascend(delta, gradient, schedule.length)
    return budget.frames(delta)


def _adaptive(
    objective: Objective, budget: Budget, schedule: Schedule, start: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best frames of one run from a perturbation on, and their values."""
    delta = before = start
    value, gradient = _climb(objective, budget.frames(delta))
    best, most, best_gradient = delta, value, gradient
    length = torch.full_like(_wide(value), schedule.length)
    rises, since, most_before = torch.zeros_like(value), 0, torch.full_like(most, -torch.inf)
    halved = torch.ones_like(value, dtype=torch.bool)
    for step in range(1, schedule.steps + 1):
        far = budget.ascend(delta, gradient, length * (1 - (step - 1) / schedule.steps))
        share = MOMENTUM if step > 1 else 0.0
        moved = budget.inside(delta + (1 - share) * (far - delta) + share * (delta - before))
        before, delta, last = delta, moved, value
        frames = budget.frames(delta)
        if step == schedule.steps:
            value = _value(objective, frames)
        else:
            value, gradient = _climb(objective, frames)
        better = value > most
        best, most = torch.where(_wide(better), delta, best), torch.maximum(value, most)
        best_gradient = torch.where(_wide(better), gradient, best_gradient)
        rises, since = rises + (value > last), since + 1
        if step in checkpoints(schedule.steps):
            stuck = ~halved & (most <= most_before)
            halved, most_before = (rises < ENOUGH_RISES * since) | stuck, most
            back = _wide(halved)
            length = torch.where(back, length / 2, length)
            delta, before = torch.where(back, best, delta), torch.where(back, best, before)
            gradient = torch.where(back, best_gradient, gradient)
            value = torch.where(halved, most, value)
            rises, since = torch.zeros_like(value), 0
    return budget.frames(best), most


def _climb(objective: Objective, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value (N,) and gradient, like ``frames``."""
    frames = frames.detach().requires_grad_(True)
    value = objective(as_pixels(frames))
    (gradient,) = torch.autograd.grad(value.sum(), frames)
    return value.detach(), gradient


@torch.no_grad()
def _value(objective: Objective, frames: torch.Tensor) -> torch.Tensor:
    return objective(as_pixels(frames))


def _better(
    best: torch.Tensor, most: torch.Tensor, frames: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The frames with the higher value of each image, and that value."""
    return torch.where(_wide(value > most), frames, best), torch.maximum(value, most)


def _wide(values: torch.Tensor) -> torch.Tensor:
    """(N,) -> (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
