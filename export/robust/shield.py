"""The shield: a head that returns the clean latent of a disturbed image, trained by latent matching.

    loss = mean over images of sum Huber(y_shield(denoised(x + delta)) - y_head(x)), y in quantisation steps

In the Fisher metric of the transform this is, to second order, the accuracy that the disturbance costs, and
it bounds the bits. Training needs neither labels nor the tail: only the small head is in the loop. Transform,
tables, restore and tail stay, so any server that decodes the plain head decodes the shield.

delta grows while training (Shafahi et al. 2019, adversarial training for free): each batch is replayed, and
one gradient moves both the weights and the perturbation of the images that attack the shield. Other images
attack the rate of the plain head, and a few are clean or noisy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from export.calibrate.images import random_view, to_tensor
from export.graphs.torch_graph import TorchGraph
from export.plans import ShieldPlan
from export.prior.table_bits import ChannelRate
from export.progress import bar
from export.robust.disturbances import Denoiser, Perturbation
from export.robust.head_weights import backbone_weights
from export.training_state import keep, resume
from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.errors import BundleError
from runtime.preprocess import Preprocess

NOISE = (0, 0, 2, 4, 8)  # of 255, standard deviation: of the ordinary images, one drawn for each


def train_shield(
    bundle: Bundle, photographs: Sequence[NDArray[np.uint8]], plan: ShieldPlan, checkpoint: Path
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
        self, bundle: Bundle, photographs: Sequence[NDArray[np.uint8]], plan: ShieldPlan, checkpoint: Path
    ):
        self._plan, self._checkpoint = plan, checkpoint
        self._head = TorchGraph(bundle.graph("head"))
        self._shield = TorchGraph(bundle.graph("head"))
        self._weights = backbone_weights(self._shield)
        self._rate = ChannelRate(Tables.from_arrays(bundle.arrays("prior")))
        self._denoiser = Denoiser(bundle)
        self._prepare = bundle.manifest.preprocess
        self._photographs = photographs
        self._optimiser = torch.optim.Adam(list(self._weights.values()), plan.learning_rate)

    def run(self) -> dict[str, torch.Tensor]:
        """Run the steps that are left; returns the trained weights by name."""
        start = resume(self._checkpoint, self._weights, self._optimiser)
        plan = self._plan
        with bar(plan.steps, "robust") as progress:
            progress.update(start)
            for first in range(start, plan.steps, plan.replays):
                rng = np.random.default_rng(first)  # so that a resumed run draws the same
                images = random_views(self._photographs, self._prepare, plan.batch, rng)
                loss = self._replay(images, first, rng)
                progress.set_postfix(loss=f"{loss:.0f}", refresh=False)
                progress.update(plan.replays)
                done = first + plan.replays
                if done % plan.save_every < plan.replays or done >= plan.steps:
                    keep(self._checkpoint, self._weights, self._optimiser, done)
        return {name: weight.detach() for name, weight in self._weights.items()}

    def _replay(self, images: torch.Tensor, first: int, rng: np.random.Generator) -> float:
        """Run all steps on one batch; returns the mean loss an image of the last step."""
        rate, count = self._plan.rate, self._plan.ordinary
        with torch.no_grad():
            target = self._head(images)[0]
        noise = torch.from_numpy(rng.normal(size=(count, *images.shape[1:])).astype(np.float32))
        level = torch.from_numpy(rng.choice(NOISE, count).astype(np.float32) / 255).view(-1, 1, 1, 1)
        ordinary = (images[:count] + level * noise).clamp(0, 1)
        attacked = Perturbation(images[count:], self._plan.replays, rng)
        loss = 0.0
        for step in range(first, first + self._plan.replays):
            disturbed = torch.cat([ordinary, attacked.images]).requires_grad_(True)
            latents, of_rate = self._attack_head(disturbed, slice(count, count + rate))
            seen = self._denoiser(disturbed.detach(), [latents], rng).requires_grad_(True)
            loss = self._step(seen, target, step)
            assert seen.grad is not None
            attacked.grow(torch.cat([of_rate, seen.grad[count + rate :]]))
        return loss

    def _attack_head(self, images: torch.Tensor, attackers: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of the plain head, and the gradient of its rate for the images ``attackers``."""
        with torch.no_grad(), _half():
            latents = self._head(images.detach())[0].float()
        some = images.detach()[attackers].requires_grad_(True)
        with _half():
            y = self._head(some)[0]
        (gradient,) = torch.autograd.grad(self._rate(y.float()).sum(), some)
        return latents, gradient

    def _step(self, seen: torch.Tensor, target: torch.Tensor, step: int) -> float:
        """One step of Adam; leaves the gradient of the loss in ``seen`` and returns the loss an image."""
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


def random_views(
    photographs: Sequence[NDArray[np.uint8]], prepare: Preprocess, count: int, rng: np.random.Generator
) -> torch.Tensor:
    """Random views of ``count`` different photographs, float32 (count, 3, S, S) in [0, 1]."""
    numbers = rng.choice(len(photographs), count, replace=False)
    return to_tensor(np.stack([random_view(photographs[number], prepare, rng) for number in numbers]))


def _half() -> torch.autocast:
    """Compute convolutions in bfloat16, twice as fast on a CPU that has it; weights stay float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16)
