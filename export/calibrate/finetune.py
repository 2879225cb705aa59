"""Distillation: the unsplit network teaches one rate's transform what the second-order model misses.

    loss = divergence(split, unsplit) + ln(2) step**2 / 12 * bits

The backbone stays frozen. Analysis and restore move, and a small residual network grows behind restore. Some
images of a batch are rounded to coarser steps, as a budget sends them. A bit costs the slope of the
high-resolution rate-distortion curve at the calibrated step, so tuning keeps the trade-off between bits and
accuracy.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import nn

from export.calibrate.transform import InverseTransform, RefinedInverse, Transform
from export.plans import FinetunePlan
from export.progress import bar
from export.tasks import Objective
from export.training_state import save_whole
from runtime.errors import BundleError

SPREAD_FRAMES = 512  # that tell the spread of the features


class FinetuneStudent(nn.Module):
    """The transform with a learned factorized density, which prices the bits while training."""

    def __init__(self, transform: Transform):
        super().__init__()
        self.analysis, self.restore = transform.analysis, transform.restore
        self.prior = EntropyBottleneck(transform.analysis.out_channels)

    def forward(self, features: torch.Tensor, coarseness: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """features, coarseness (N, 1, 1, 1) -> (restored features, bits of the batch at coarseness 1)."""
        y = self.analysis(features)
        _, likelihood = self.prior(y)
        y_hat = y + (torch.round(y / coarseness) * coarseness - y).detach()
        return self.restore(y_hat), -torch.log2(likelihood.clamp(min=1e-9)).sum()


def finetune(
    transform: Transform,
    features: torch.Tensor,
    tail: nn.Module,
    objective: Objective,
    plan: FinetunePlan,
    checkpoint: Path,
) -> Transform:
    """The transform tuned on ``features``, float32 (N, C, H, W); goes on from ``checkpoint`` if it exists.

    The checkpoint is replaced in one move, so that an interruption loses at most ``save_every`` steps.
    """
    torch.manual_seed(0)
    transform = refined(transform, features[:SPREAD_FRAMES].std((0, 2, 3)))
    student = FinetuneStudent(transform).requires_grad_(True)
    tail = tail.eval().requires_grad_(False)
    speeds = _speeds(student, plan)
    groups: list[dict[str, Any]] = [{"params": [p], "lr": speed} for p, speed in speeds]
    optimiser = torch.optim.Adam(
        [*groups, {"params": list(student.prior.parameters()), "lr": plan.prior_rate}]
    )
    start = _resume(student, optimiser, checkpoint)
    if start == 0:
        _fit_prior(student, features, plan)
    price = math.log(2) * transform.step**2 / 12
    with bar(plan.steps, "finetune") as progress:
        progress.update(start)
        for step in range(start, plan.steps):
            torch.manual_seed(step)  # of the density's noise: a resumed run repeats the uninterrupted one
            for group, (_, speed) in zip(optimiser.param_groups, speeds, strict=False):
                group["lr"] = speed * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
            batch, coarseness = _batch(features, plan.batch, step), _coarseness(plan, step)
            divergence, bits = _step(student, tail, objective, batch, coarseness, price, optimiser)
            progress.set_postfix(kl=f"{divergence:.4f}", bytes=f"{bits / 8:.0f}", refresh=False)
            progress.update(1)
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                _save(student, optimiser, transform, step + 1, checkpoint)
    student.requires_grad_(False)
    return transform


def load_transform(checkpoint: Path, untuned: Transform) -> Transform:
    """``untuned`` with a checkpoint's weights. Raises BundleError when they are another transform's."""
    kept = torch.load(checkpoint, weights_only=True)
    if kept["step_size"] != untuned.step or kept["channels"] != untuned.analysis.out_channels:
        raise BundleError(f"{checkpoint}: tuned for another rate or calibration than this one")
    _check_refined(kept, checkpoint)
    spread = kept["student"]["restore.spread"].flatten()
    transform = refined(untuned, spread)
    student = FinetuneStudent(transform)
    student.load_state_dict(kept["student"])
    student.requires_grad_(False)
    return transform


def refined(transform: Transform, spread: torch.Tensor) -> Transform:
    """The same transform with a residual network behind its inverse that changes nothing yet.

    spread: float32 (C,), the standard deviation of each feature channel.
    """
    assert isinstance(transform.restore, InverseTransform)
    return replace(transform, restore=RefinedInverse(transform.restore, spread))


def _speeds(student: FinetuneStudent, plan: FinetunePlan) -> list[tuple[nn.Parameter, float]]:
    """Each tuned tensor with its learning rate: relative for the transform, absolute for the new network."""
    restore = student.restore
    assert isinstance(restore, RefinedInverse)
    transform = [*student.analysis.parameters(), *restore.inverse.parameters()]
    network = [*restore.wide.parameters(), *restore.narrow.parameters()]
    relative = [(p, plan.learning_rate * float(p.detach().square().mean().sqrt())) for p in transform]
    return relative + [(p, plan.network_rate) for p in network]


def _coarseness(plan: FinetunePlan, step: int) -> torch.Tensor:
    """Steps of a batch's images over the rate's: 1, or log-uniform above it for ``plan.coarse`` of them."""
    generator = torch.Generator().manual_seed(step)
    chosen = torch.rand(plan.batch, generator=generator) < plan.coarse
    drawn = torch.empty(plan.batch).uniform_(0, math.log(plan.coarsest), generator=generator).exp()
    return torch.where(chosen, drawn, torch.ones(plan.batch)).view(-1, 1, 1, 1)


def _check_refined(kept: dict[str, Any], checkpoint: Path) -> None:
    if "restore.spread" not in kept["student"]:
        raise BundleError(f"{checkpoint}: has no residual network, of an older version; tune it again")


def _step(
    student: FinetuneStudent,
    tail: nn.Module,
    objective: Objective,
    batch: torch.Tensor,
    coarseness: torch.Tensor,
    price: float,
    optimiser: torch.optim.Optimizer,
) -> tuple[float, float]:
    """One step of Adam; returns the divergence in nats and the bits, both a frame."""
    with torch.no_grad():
        target = tail(batch)
    restored, bits = student(batch, coarseness)
    divergence = objective.divergence(tail(restored), target)
    loss = divergence + price * bits / len(batch)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(divergence.detach()), float(bits.detach()) / len(batch)


def _fit_prior(student: FinetuneStudent, features: torch.Tensor, plan: FinetunePlan) -> None:
    """Fit the density to the untuned latents: a wrong price of bits would spoil the transform."""
    optimiser = torch.optim.Adam(student.prior.parameters(), plan.prior_rate)
    with torch.no_grad():
        y = torch.cat([student.analysis(batch) for batch in features[:512].split(128)])
    for step in range(plan.prior_steps):
        _, likelihood = student.prior(_batch(y, 64, step))
        loss = -torch.log2(likelihood.clamp(min=1e-9)).sum() / 64
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _batch(values: torch.Tensor, size: int, step: int) -> torch.Tensor:
    """The batch of one step, seeded by the step's number, so that a resumed run draws the same."""
    generator = torch.Generator().manual_seed(step)
    return values[torch.randint(len(values), (size,), generator=generator)]


def _resume(student: FinetuneStudent, optimiser: torch.optim.Optimizer, checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    _check_refined(kept, checkpoint)
    student.load_state_dict(kept["student"])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def _save(
    student: FinetuneStudent, optimiser: torch.optim.Optimizer, transform: Transform, step: int, path: Path
) -> None:
    state = {
        "student": student.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "step_size": transform.step,
        "channels": transform.analysis.out_channels,
    }
    save_whole(state, path)
