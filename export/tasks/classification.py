"""The objective of classification: the divergence of the softmax of logits (N, classes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch.nn.functional import kl_div, log_softmax

from runtime.tasks import Task

LABELS_PER_IMAGE = 3
LADDER = {1: 0.0365, 2: 0.066, 3: 0.105, 4: 0.158}


class ClassDivergence:
    """Categorical KL divergence, and agreement of the likeliest class."""

    ladder: ClassVar[Mapping[int, float]] = LADDER

    def draws(self, outputs: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """-log p(c) of classes c drawn from the prediction itself."""
        log_p = log_softmax(outputs, 1)
        labels = torch.multinomial(log_p.detach().exp(), LABELS_PER_IMAGE, True, generator=generator)
        return [-log_p.gather(1, labels[:, k : k + 1]).sum() for k in range(LABELS_PER_IMAGE)]

    def divergence(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """KL(wanted || given), mean over the frames."""
        return kl_div(log_softmax(given, 1), log_softmax(wanted, 1), log_target=True, reduction="batchmean")

    def one_for_all(self, outputs: torch.Tensor) -> torch.Tensor:
        """The logarithm of the mean probabilities."""
        return outputs.softmax(1).mean(0, keepdim=True).clamp_min(1e-30).log()

    def agreement(self, given: torch.Tensor, wanted: torch.Tensor) -> float:
        """How often the likeliest class is the same."""
        return float((given.argmax(1) == wanted.argmax(1)).float().mean())


def open_objective(_: Task) -> ClassDivergence:
    """The same for every classification."""
    return ClassDivergence()
