"""The adapted head: it answers to a corrupted frame as the plain one does to the clean frame, for fewer bits.

    loss = mean over images of KL(answer(y_hat(x)) || answer(y_hat of corrupted x)) + price * bits(y)

The answer is that of the bundle's own restore and tail, which stay as they are, so an adapted head speaks the
language of the head that it was made from. Symbols are rounded straight through (Bengio et al. 2013). No
labels. That the first layers are what to tune for corrupted input is known of classifiers (Lee et al.,
surgical fine-tuning, ICLR 2023). Matching the clean latent instead does not help (docs/decisions.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from export.graphs.torch_graph import TorchGraph
from export.prior.table_bits import ChannelRate
from export.progress import bar, keep, resume
from export.robust.corruptions import SEVERITIES, corrupt
from export.robust.shield import backbone_weights, view
from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.errors import BundleError
from runtime.preprocess import Preprocess

SHARES = {
    "snow": 5, "spatter": 3, "saturate": 3, "jpeg_compression": 2,
    "gaussian_noise": 1, "shot_noise": 1, "impulse_noise": 1, "speckle_noise": 1,
}  # fmt: skip
"""Frames of each corruption of ``export.robust.alarm.KINDS``: most of those that cost most."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class AdaptPlan:
    """How long, how fast, and for how many bits.

    steps: of Adam in all, earlier runs included; batch: images a step, of which ``calm`` are clean;
    learning_rate: of each tensor, times its root mean square; price: of a bit, in nats of the answer;
    views: frames made of each photograph; save_every: steps between checkpoints.
    """

    steps: int = 1500
    batch: int = 32
    calm: int = 8
    learning_rate: float = 4e-3
    price: float = 3e-5
    views: int = 10
    save_every: int = 100


def train_adapted(
    bundle: Bundle, photographs: Sequence[Frames], plan: AdaptPlan, checkpoint: Path
) -> dict[str, torch.Tensor]:
    """Train the adapted head of a bundle, going on from ``checkpoint`` when it exists.

    Returns the backbone's weights by their name in the head graph; they fit every bundle of the family.

    Args:
        bundle: factorized: its tables price the bits.
        photographs: uint8 (H, W, 3) of any size; no labels.
        checkpoint: replaced in one move, so that an interruption loses at most ``plan.save_every`` steps.

    Raises BundleError when the bundle is not factorized or its head was not built by ``export.build``.
    """
    if bundle.manifest.prior != "fp":
        raise BundleError(f"{bundle.manifest.name} is not factorized: train on the fp bundle of its family")
    clean, corrupted = corrupted_pairs(photographs, bundle.manifest.preprocess, plan.views)
    student = _Student(bundle)
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
            rng = np.random.default_rng(step)  # a resumed run is the run that was interrupted
            chosen = rng.choice(len(clean), plan.batch, replace=False)
            seen = np.concatenate([clean[chosen[: plan.calm]], corrupted[chosen[plan.calm :]]])
            loss = student.loss(_images(clean[chosen]), _images(seen), plan.price)
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


class _Student:
    """The head that is tuned, and the frozen graphs that judge it."""

    def __init__(self, bundle: Bundle):
        self._head, self._restore, self._tail = (
            TorchGraph(bundle.path(role)) for role in ("head", "restore", "tail")
        )
        self._student = TorchGraph(bundle.path("head"))
        self.weights = backbone_weights(self._student)
        self._rate = ChannelRate(Tables.from_arrays(bundle.arrays("prior")))

    def loss(self, clean: torch.Tensor, seen: torch.Tensor, price: float) -> torch.Tensor:
        """Of images float32 (N, 3, S, S), the first as they were before."""
        with torch.no_grad():
            wanted = self._answer(self._head(clean)[0].round())
        y = self._student(seen)[0]
        given = self._answer(y + (y.round() - y).detach())
        told = functional.kl_div(given, wanted, log_target=True, reduction="batchmean")
        return told + price * self._rate(y).mean()

    def _answer(self, y_hat: torch.Tensor) -> torch.Tensor:
        return functional.log_softmax(self._tail(self._restore(y_hat)[0])[0], dim=1)


def corrupted_pairs(photographs: Sequence[Frames], prepare: Preprocess, views: int) -> tuple[Frames, Frames]:
    """``views`` squares of each photograph, and each after one corruption of ``SHARES`` of any severity.

    Both uint8 (N, S, S, 3). The work is shared by all cores; the same photographs make the same pairs.
    """
    one = partial(_pairs_of, prepare=prepare, views=views)
    with (
        ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as processes,
        bar(len(photographs), "corrupted frames", "photograph") as progress,
    ):
        pairs = []
        for some in processes.map(one, enumerate(photographs), chunksize=8):
            pairs += some
            progress.update(1)
    clean, corrupted = zip(*pairs, strict=True)
    return np.stack(clean), np.stack(corrupted)


def _pairs_of(numbered: tuple[int, Frames], prepare: Preprocess, views: int) -> list[tuple[Frames, Frames]]:
    number, photograph = numbered
    rng = np.random.default_rng((number, views))
    names = [name for name, share in SHARES.items() for _ in range(share)]
    pairs = []
    for _ in range(views):
        square = np.ascontiguousarray(view(photograph, prepare, rng))
        name, severity = names[rng.integers(len(names))], int(rng.choice(SEVERITIES))
        pairs.append((square, corrupt(square, name, severity, int(rng.integers(2**32)))))
    return pairs


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _images(frames: Frames) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float() / 255
