"""How long and how fast each training runs. Without torch, so that ``--help`` can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HyperpriorPlan:
    """Training of a hyperprior: steps in floating point, then steps on the integers' grid.

    batch: frames a step. learning_rate, exact_learning_rate: of Adam, in the first and the second phase.
    """

    float_steps: int = 2600
    exact_steps: int = 600
    batch: int = 48
    learning_rate: float = 3e-3
    exact_learning_rate: float = 3e-4


@dataclass(frozen=True)
class FinetunePlan:
    """Distillation into the transform of one rate.

    steps: of Adam in all, earlier runs included. batch: images a step.
    learning_rate: relative to the root mean square of each tensor. Analysis and restore are each other's
        inverse, so one absolute rate would be far too fast for one of them.
    network_rate: absolute, of the residual network behind the inverse transform.
    coarse: share of images that are sent coarser than the rate's step, up to ``coarsest`` times, as a budget
        will send them.
    prior_rate: of the density that prices the bits. prior_steps: that fit it before the transform moves.
    save_every: steps between checkpoints.
    """

    steps: int = 400
    batch: int = 16
    learning_rate: float = 3e-4
    network_rate: float = 1e-3
    coarse: float = 0.3
    coarsest: float = 3.0
    prior_rate: float = 1e-2
    prior_steps: int = 300
    save_every: int = 20


@dataclass(frozen=True)
class ShieldPlan:
    """Training of a shield.

    steps: of Adam in all, earlier runs included. batch: images a step; ``rate`` of them attack the rate of
    the plain head, ``ordinary`` of them are clean or noisy, the rest attack the shield.
    replays: steps a batch. save_every: steps between checkpoints.
    """

    steps: int = 2400
    batch: int = 24
    rate: int = 8
    ordinary: int = 4
    replays: int = 6
    learning_rate: float = 5e-4
    save_every: int = 60


@dataclass(frozen=True)
class AdaptPlan:
    """Training of an adapted head.

    steps: of Adam in all, earlier runs included. batch: images a step, ``clean`` of them without a
    corruption. learning_rate: of each tensor, times its root mean square. price: of a bit, in nats of the
    answer. views: frames made of each photograph. save_every: steps between checkpoints.
    """

    steps: int = 1500
    batch: int = 32
    clean: int = 8
    learning_rate: float = 4e-3
    price: float = 3e-5
    views: int = 10
    save_every: int = 100


SEEDED_STEPS = 300
"""Steps that fit the prior of a seeded network (``export.paper.seeded``)."""
