"""Fit the mean-scale hyperprior to latents: training in float, then on the integers' grid, then tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from export.plans import HyperpriorPlan
from export.prior.exact import code_size
from export.prior.factorized import channel_tables
from export.prior.hyperprior import HyperpriorModule, SynthesisModule
from export.progress import bar
from runtime.codec.tables import Tables, gaussian_tables

HYPER_CHANNELS = 16


@dataclass(frozen=True)
class FittedHyperprior:
    """The parts of a hyperprior that go into a bundle.

    hyper: shape of z. scales: the 64 tables of y. notes: sizes in bytes a frame, for the provenance.
    """

    h_a: nn.Module
    h_s: SynthesisModule
    hyper: tuple[int, int, int]
    z_tables: Tables
    scales: Tables
    notes: dict[str, Any]


def fit_hyperprior(y: torch.Tensor, plan: HyperpriorPlan) -> FittedHyperprior:
    """Train on latents ``y``, float32 (N, C, H, W) in units of one symbol."""
    torch.manual_seed(0)
    model = HyperpriorModule(y.shape[1], y.shape[2], HYPER_CHANNELS)
    model.start_from(y)
    with bar(plan.float_steps, "hyperprior, float") as progress:
        train(model, y, plan, False, lambda bits: _tick(progress, bits))
    float_bits = sum(code_size(model, y))
    with bar(plan.exact_steps, "hyperprior, exact") as progress:
        train(model, y, plan, True, lambda bits: _tick(progress, bits))
    y_bits, z_bits = code_size(model, y)
    with torch.no_grad():
        z = torch.cat([torch.round(model.h_a(batch)) for batch in y.split(256)])
    return FittedHyperprior(
        h_a=model.h_a,
        h_s=model.h_s,
        hyper=(int(z.shape[1]), int(z.shape[2]), int(z.shape[3])),
        z_tables=channel_tables(z),
        scales=gaussian_tables(),
        notes={
            "float_h_s_bytes": round(float_bits / 8, 1),
            "exact_h_s_bytes": round((y_bits + z_bits) / 8, 1),
            "z_bytes": round(z_bits / 8, 1),
        },
    )


def _tick(progress: Any, bits: float) -> None:
    progress.set_postfix(bytes=f"{bits / 8:.0f}", refresh=False)
    progress.update(1)


def train(
    model: HyperpriorModule,
    y: torch.Tensor,
    plan: HyperpriorPlan,
    exact: bool,
    progress: Callable[[float], None],
) -> None:
    """One phase of training on latents ``y``, float32 (N, C, H, W) in units of one symbol.

    ``progress`` is called after each step with the bits of one frame.
    """
    model.h_s.quantise(exact)
    steps = plan.exact_steps if exact else plan.float_steps
    rate = plan.exact_learning_rate if exact else plan.learning_rate
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(steps):
        batch = y[torch.randint(len(y), (plan.batch,), generator=generator)]
        y_bits, z_bits = model(batch)
        bits = (y_bits + z_bits) / plan.batch
        optimiser.zero_grad()
        bits.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e4)
        optimiser.step()
        schedule.step()
        progress(float(bits.detach()))
    model.eval()
