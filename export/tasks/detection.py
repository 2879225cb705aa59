"""The objective of detection: class scores and box distributions, weighted by the score.

    divergence = sum over points and classes of  p KL(p || p')
               + sum over points of  (max p)^2 sum over sides of KL(q || q')

p is a score, taken as a Bernoulli probability; q the distribution over the distances of one side. Without the
weights nearly all of it would be background: of 284,000 scores of a frame some 8 are boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch.nn.functional import kl_div

from runtime.tasks import Named, Task
from runtime.tasks.detection import Detection, overlaps

LADDER = {1: 0.7, 2: 1.12, 3: 1.55, 4: 2.2}
SAME = 0.5
"""Intersection over union from which on two boxes of one class are the same."""

EPS = 1e-6
"""Scores are kept so far from 0 and 1 where a logarithm or a quotient is taken."""


@dataclass(frozen=True)
class BoxDivergence:
    """Weighted divergence of scores and box distributions; agreement of boxes."""

    task: Detection

    ladder: ClassVar[Mapping[int, float]] = LADDER

    def draws(self, outputs: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """One Gaussian draw with the covariance of the log-likelihood's gradient, times the weights' roots.

        Of a Bernoulli's logit it is p (1 - p), of a categorical's logits diag(q) - q q^T.
        """
        p, logits = self._parts(outputs)
        q = logits.detach().softmax(-1)
        noise = torch.randn(p.shape, generator=generator)
        spread = (p * (1 - p)).detach().clamp_min(EPS)
        of_scores = (noise * p.detach().sqrt() / spread.sqrt() * p).sum()
        noise = torch.randn(q.shape, generator=generator) * q.sqrt()
        noise = noise - q * noise.sum(-1, keepdim=True)
        weight = p.detach().amax(-1)[..., None, None]
        return [of_scores + (weight * noise * logits).sum()]

    def divergence(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The weighted KL divergence, mean over the frames."""
        (found, sides), (p, q) = self._parts(given), self._parts(wanted)
        found, p = found.clamp(EPS, 1 - EPS), p.clamp(EPS, 1 - EPS)
        of_scores = p * (p * (p.log() - found.log()) + (1 - p) * ((1 - p).log() - (1 - found).log()))
        weight = p.amax(-1).square()[..., None, None]
        of_sides = weight * kl_div(
            sides.log_softmax(-1), q.log_softmax(-1), log_target=True, reduction="none"
        )
        return (of_scores.sum() + of_sides.sum()) / len(given)

    def one_for_all(self, outputs: torch.Tensor) -> torch.Tensor:
        """Weighted means of scores and of distributions, at each point."""
        p, logits = self._parts(outputs)
        scores = p.square().sum(0, keepdim=True) / p.sum(0, keepdim=True).clamp_min(EPS)
        weight = p.amax(-1).square()[..., None, None]
        shares = (weight * logits.softmax(-1)).sum(0, keepdim=True) / weight.sum(0, keepdim=True)
        return torch.cat([scores, shares.clamp_min(1e-30).log().flatten(2)], 2)

    def agreement(self, given: torch.Tensor, wanted: torch.Tensor) -> float:
        """F1 of the boxes of ``given`` against those of ``wanted``: same class, overlap of 0.5."""
        same = boxes = 0
        for one, other in zip(given.numpy(), wanted.numpy(), strict=True):
            ours, theirs = self.task.answer(one), self.task.answer(other)
            same += _matched(ours, theirs)
            boxes += len(ours["scores"]) + len(theirs["scores"])
        return 2 * same / boxes if boxes else 1.0

    def _parts(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (N, L, classes), and logits of the distances (N, L, 4, bins)."""
        p, logits = outputs[..., : self.task.names], outputs[..., self.task.names :]
        return p, logits.unflatten(-1, (4, self.task.bins))


def _matched(ours: Named, theirs: Named) -> int:
    """Number of our boxes that are one of theirs, each of which counts once; best scored first."""
    alike = overlaps(ours["boxes"], theirs["boxes"]) * (ours["classes"][:, None] == theirs["classes"][None])
    found = 0
    for row in alike:
        if row.size and row.max() >= SAME:
            alike[:, row.argmax()] = 0
            found += 1
    return found


def open_objective(task: Task) -> BoxDivergence:
    """The objective of one detection."""
    return BoxDivergence(cast(Detection, task))
