"""What every objective has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from runtime.tasks import Task


class Objective(Protocol):
    """How far two outputs of the tail are apart, for one task; outputs are float32 (N, ...)."""

    @property
    def ladder(self) -> Mapping[int, float]:
        """Rate 1 to 4 -> what coding may cost, in nats a frame to second order: from most bytes to fewest."""

    def draws(self, outputs: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Scalars whose gradients by the features have the Fisher information for their second moment.

        Each is a sum over frames of independent draws; several make the estimate better.
        """

    def divergence(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Divergence of ``given`` outputs from ``wanted`` ones, in nats a frame; a scalar with a gradient.

        To second order it is half the squared distance in the Fisher metric of ``draws``.
        """

    def one_for_all(self, outputs: torch.Tensor) -> torch.Tensor:
        """The one output (1, ...) that diverges least from all ``outputs``: the answer without bytes."""

    def agreement(self, given: torch.Tensor, wanted: torch.Tensor) -> float:
        """How far the answers to ``given`` are those to ``wanted``, 0 to 1."""


class ObjectiveModule(Protocol):
    """A module with the objective of one kind of task."""

    def open_objective(self, task: Task) -> Objective:
        """The objective of a task of this kind."""
