"""A task of your own, the half of ``export``: what calibration and training optimise for an embedding.

    divergence = SHARPNESS (1 - cosine)

To second order this is half the squared distance of the vectors, times ``SHARPNESS``: the metric of vectors
that are known up to a Gaussian error of variance 1 / SHARPNESS.

    python examples/own_backbone.py     # draws shapes/ and trains a network on them
    python -m export calibrate --backbone examples.embedding_objective:network --cut features --size 64 \\
        --photos shapes -o out --threads 1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from examples import own_backbone
from runtime.tasks import Task

SHARPNESS = 100.0
"""Nats for a vector that is orthogonal to the right one: a cosine of 0.99 costs 1."""


class CosineDivergence:
    """The divergence of two vectors, by the angle between them."""

    ladder: ClassVar[Mapping[int, float]] = {1: 0.25, 2: 0.5, 3: 1.0, 4: 2.0}
    """What coding may cost at each rate, in nats a frame."""

    def draws(self, outputs: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """One: the vectors along directions that are drawn for each frame."""
        noise = torch.randn(outputs.shape, generator=generator)
        return [SHARPNESS**0.5 * (noise * normalize(outputs, dim=1)).sum()]

    def divergence(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Mean over the frames."""
        return SHARPNESS * (1 - (normalize(given, dim=1) * normalize(wanted, dim=1)).sum(1)).mean()

    def one_for_all(self, outputs: torch.Tensor) -> torch.Tensor:
        """The mean of the vectors: of all directions it has the largest mean cosine."""
        return normalize(outputs, dim=1).mean(0, keepdim=True)

    def agreement(self, given: torch.Tensor, wanted: torch.Tensor) -> float:
        """The mean cosine; 0 where it is negative."""
        return max(0.0, 1 - float(self.divergence(given, wanted)) / SHARPNESS)


def open_objective(_: Task) -> CosineDivergence:
    """The same for every embedding."""
    return CosineDivergence()


def network() -> nn.Module:
    """What ``--backbone`` asks for: the network of ``own_backbone`` without its last layer, and its task."""
    model = own_backbone.classifier()
    model.last = nn.Identity()
    model.task = {"kind": "embedding"}  # type: ignore[assignment]
    return model
