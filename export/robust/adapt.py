"""The adapted head: for a corrupted frame it answers as the plain head does for the clean one, in fewer bits.

    loss = mean over images of divergence(answer(y_hat of corrupted x), answer(y_hat(x))) + price * bits(y)

The divergence is the task's (``export.tasks``).
The bundle's own restore and tail give the answer and stay as they are. So any server that decodes the plain
head decodes the adapted one. Symbols are rounded straight through (Bengio et al. 2013);
labels are not needed. Lee et al. (surgical fine-tuning, ICLR 2023) found that for corrupted input the first
layers are the ones to tune. Matching the clean latent instead does not help (docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.calibrate.images import to_tensor
from export.graphs.torch_graph import TorchGraph
from export.plans import AdaptPlan
from export.prior.table_bits import ChannelRate
from export.progress import bar
from export.robust.corrupted_pairs import corrupted_pairs
from export.robust.head_weights import backbone_weights
from export.tasks import open_objective
from export.training_state import keep, resume
from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.errors import BundleError


def train_adapted(
    bundle: Bundle,
    photographs: Sequence[NDArray[np.uint8]],
    plan: AdaptPlan,
    checkpoint: Path,
    processes: int | None = None,
) -> dict[str, torch.Tensor]:
    """Train the adapted head of a bundle, going on from ``checkpoint`` when it exists.

    Returns the backbone's weights by their name in the head graph; they fit every bundle of the family.

    Args:
        bundle: factorized: its tables price the bits.
        photographs: uint8 (H, W, 3) of any size; no labels.
        checkpoint: replaced in one move, so that an interruption loses at most ``plan.save_every`` steps.
        processes: that corrupt the frames; see ``corrupted_pairs``.

    Raises BundleError when the bundle is not factorized or its head was not built by ``export.build``.
    """
    if bundle.manifest.prior != "fp":
        raise BundleError(f"{bundle.manifest.name} is not factorized: train on the fp bundle of its family")
    clean, corrupted = corrupted_pairs(photographs, bundle.manifest.preprocess, plan.views, processes)
    student = AdaptStudent(bundle)
    groups = [
        {"params": [weight], "lr": plan.learning_rate * float(weight.detach().square().mean().sqrt())}
        for weight in student.weights.values()
    ]
    optimiser = torch.optim.Adam(groups)
    highest = [group["lr"] for group in optimiser.param_groups]
    start = resume(checkpoint, student.weights, optimiser)
    with bar(plan.steps, "adapted") as progress:
        progress.update(start)
        for step in range(start, plan.steps):
            rng = np.random.default_rng(step)  # so that a resumed run draws the same
            chosen = rng.choice(len(clean), plan.batch, replace=False)
            seen = np.concatenate([clean[chosen[: plan.clean]], corrupted[chosen[plan.clean :]]])
            loss = student.loss(to_tensor(clean[chosen]), to_tensor(seen), plan.price)
            optimiser.zero_grad()
            loss.backward()
            for group, rate in zip(optimiser.param_groups, highest, strict=True):
                group["lr"] = rate * _warm_cosine(step, plan.steps)
            optimiser.step()
            progress.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
            progress.update(1)
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                keep(checkpoint, student.weights, optimiser, step + 1)
    return {name: weight.detach() for name, weight in student.weights.items()}


class AdaptStudent:
    """The head that is tuned, and the frozen graphs that judge it.

    weights: of the tuned head's backbone, by name in the head graph; they move in place.
    """

    def __init__(self, bundle: Bundle):
        self._head, self._restore, self._tail = (
            TorchGraph(bundle.graph(role)) for role in ("head", "restore", "tail")
        )
        self._student = TorchGraph(bundle.graph("head"))
        self.weights = backbone_weights(self._student)
        self._objective = open_objective(bundle.task)
        self._rate = ChannelRate(Tables.from_arrays(bundle.arrays("prior")))

    def loss(self, clean: torch.Tensor, seen: torch.Tensor, price: float) -> torch.Tensor:
        """The loss on frames ``seen``, corrupted or not, that were ``clean``; both float32 (N, 3, S, S)."""
        with torch.no_grad():
            wanted = self._answer(self._head(clean)[0].round())
        y = self._student(seen)[0]
        given = self._answer(y + (y.round() - y).detach())
        return self._objective.divergence(given, wanted) + price * self._rate(y).mean()

    def _answer(self, y_hat: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._tail(self._restore(y_hat)[0])[0]
        return output


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
