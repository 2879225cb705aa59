"""The shield: a head that returns the clean latent of a disturbed image, by latent matching (DESIGN.md, 11).

    loss = mean over images of sum Huber(y_shield(denoised(x + delta)) - y_head(x)), y in quantisation steps

In the Fisher metric of the transform that is to second order what the disturbance costs in accuracy, and it
bounds what it costs in bits. No labels, no tail: only the small head is in the loop. Transform, tables,
restore and tail stay, so a shield speaks the language of the head that it was made from.

delta is grown while training (Shafahi et al. 2019, adversarial training for free): each batch is replayed,
and the gradient that moves the weights also moves the perturbation of the images that attack the shield
itself. Others attack the rate of the plain head, and a few are left clean or get noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from export.calibrate.images import random_square
from export.graphs.torch_graph import TorchGraph
from export.prior.table_bits import ChannelRate
from export.progress import bar, keep, resume
from export.robust.disturbances import Denoiser, Perturbation
from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.errors import BundleError
from runtime.preprocess import Preprocess

BACKBONE = "backbone."
"""Names of the backbone's weights in a head graph begin like this (``export.build.HeadGraph``)."""


@dataclass(frozen=True)
class RobustPlan:
    """How long and how fast.

    steps: of Adam in all, earlier runs included; batch: images a step, of which ``rate`` attack the rate of
    the plain head, ``calm`` are clean or noisy and the rest attack the shield; replays: steps a batch;
    save_every: steps between checkpoints.
    """

    steps: int = 2400
    batch: int = 24
    rate: int = 8
    calm: int = 4
    replays: int = 6
    learning_rate: float = 5e-4
    save_every: int = 60


def train_shield(
    bundle: Bundle, photographs: Sequence[NDArray[np.uint8]], plan: RobustPlan, checkpoint: Path
) -> dict[str, torch.Tensor]:
    """Train the shield of a bundle, going on from ``checkpoint`` when it exists.

    Returns the backbone's weights by their name in the head graph; they fit every bundle of the family.

    Args:
        bundle: factorized: its tables price the rate that the attack on the plain head drives up.
        photographs: uint8 (H, W, 3) of any size, at least ``plan.batch``; no labels.
        checkpoint: replaced in one move, so that an interruption loses at most ``plan.save_every`` steps.

    Raises BundleError when the bundle is not factorized or its head was not built by ``export.build``.
    """
    if bundle.manifest.prior != "fp":
        raise BundleError(f"{bundle.manifest.name} is not factorized: train on the fp bundle of its family")
    return _Training(bundle, photographs, plan, checkpoint).run()


class _Training:
    """The two heads, the optimiser and the disturbances."""

    def __init__(
        self, bundle: Bundle, photographs: Sequence[NDArray[np.uint8]], plan: RobustPlan, checkpoint: Path
    ):
        self._plan, self._checkpoint = plan, checkpoint
        self._head = TorchGraph(bundle.path("head"))
        self._shield = TorchGraph(bundle.path("head"))
        self._weights = backbone_weights(self._shield)
        self._rate = ChannelRate(Tables.from_arrays(bundle.arrays("prior")))
        self._denoiser = Denoiser(bundle)
        self._prepare = bundle.manifest.preprocess
        self._photographs = photographs
        self._optimiser = torch.optim.Adam(list(self._weights.values()), plan.learning_rate)

    def run(self) -> dict[str, torch.Tensor]:
        """All steps that are left; the trained weights by name."""
        start = resume(self._checkpoint, self._weights, self._optimiser)
        plan = self._plan
        with bar(plan.steps, "robust") as progress:
            progress.update(start)
            for first in range(start, plan.steps, plan.replays):
                rng = np.random.default_rng(first)  # a resumed run is the run that was interrupted
                loss = self._replay(views(self._photographs, self._prepare, plan.batch, rng), first, rng)
                progress.set_postfix(loss=f"{loss:.0f}", refresh=False)
                progress.update(plan.replays)
                done = first + plan.replays
                if done % plan.save_every < plan.replays or done >= plan.steps:
                    keep(self._checkpoint, self._weights, self._optimiser, done)
        return {name: weight.detach() for name, weight in self._weights.items()}

    def _replay(self, images: torch.Tensor, first: int, rng: np.random.Generator) -> float:
        """All steps on one batch. Returns the mean loss an image of the last one."""
        rate, calm = self._plan.rate, self._plan.calm
        with torch.no_grad():
            target = self._head(images)[0]
        noise = torch.from_numpy(rng.normal(size=(calm, *images.shape[1:])).astype(np.float32))
        level = torch.from_numpy(rng.choice([0, 0, 2, 4, 8], calm).astype(np.float32) / 255).view(-1, 1, 1, 1)
        quiet = (images[:calm] + level * noise).clamp(0, 1)
        attacked = Perturbation(images[calm:], self._plan.replays, rng)
        loss = 0.0
        for step in range(first, first + self._plan.replays):
            disturbed = torch.cat([quiet, attacked.images]).requires_grad_(True)
            latents, of_rate = self._attack_head(disturbed, slice(calm, calm + rate))
            seen = self._denoiser(disturbed.detach(), [latents], rng).requires_grad_(True)
            loss = self._step(seen, target, step)
            assert seen.grad is not None
            attacked.grow(torch.cat([of_rate, seen.grad[calm + rate :]]))
        return loss

    def _attack_head(self, images: torch.Tensor, attackers: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of the plain head, and the gradient of its rate for those that attack it."""
        with torch.no_grad(), _half():
            latents = self._head(images.detach())[0].float()
        some = images.detach()[attackers].requires_grad_(True)
        with _half():
            y = self._head(some)[0]
        (gradient,) = torch.autograd.grad(self._rate(y.float()).sum(), some)
        return latents, gradient

    def _step(self, seen: torch.Tensor, target: torch.Tensor, step: int) -> float:
        """One step of Adam; leaves the gradient of the loss in ``seen``. Returns the loss an image."""
        plan = self._plan
        for group in self._optimiser.param_groups:
            warm = min(1.0, (step + 1) / 100)
            group["lr"] = plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        with _half():
            y = self._shield(seen)[0]
        loss = functional.huber_loss(y.float(), target, reduction="sum") / len(seen)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return float(loss)


def backbone_weights(graph: TorchGraph) -> dict[str, torch.Tensor]:
    """The backbone's convolutions and biases, ready to be trained, by their name in the graph."""
    names = [n for n in graph.constants if n.startswith(BACKBONE) and (".weight" in n or ".bias" in n)]
    if not names:
        raise BundleError(f"the head graph has no weights called {BACKBONE}*: build the bundle with export")
    for name in names:
        graph.constants[name] = graph.constants[name].clone().requires_grad_(True)
    return {name: graph.constants[name] for name in names}


def views(
    photographs: Sequence[NDArray[np.uint8]], prepare: Preprocess, count: int, rng: np.random.Generator
) -> torch.Tensor:
    """Random crops and flips of random photographs, float32 (count, 3, S, S) in [0, 1]."""
    numbers = rng.choice(len(photographs), count, replace=False)
    chosen = [view(photographs[number], prepare, rng) for number in numbers]
    stacked = np.stack(chosen).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked)).float() / 255


def view(photograph: NDArray[np.uint8], prepare: Preprocess, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random crop of a photograph, mirrored half the time, uint8 (S, S, 3)."""
    square = prepare.square(random_square(photograph, rng))
    return square[:, ::-1] if rng.random() < 0.5 else square


def _half() -> torch.autocast:
    """Convolutions in bfloat16: twice as fast on a CPU that has it; the weights stay float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16)
