"""A network without a checkpoint: random weights from a seed, the prior fitted to photographs.

With random weights alone y would lie far below one step, or cost a multiple of a trained network's bytes. So
the channels of y are scaled to spread like a trained encoder's. The entropy model, h_a and h_s included, then
trains on the latents for a few seconds. Bytes, timings and parity with another implementation mean something
after that; features and logits mean nothing.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from export.paper.architectures import Architecture, PriorName
from export.paper.bottleneck import Bottleneck, HyperpriorBottleneck, analysis_of
from export.paper.networks import SplitNetwork
from export.progress import bar

SPREAD = (0.1, 3.0)  # least and largest standard deviation of a channel of y: about beta = 0.08
Z_SPREAD = 1.0  # standard deviation of a channel of z
RATE = 1e-2  # of Adam
BATCH = 4
FITTED_TO = 32  # photographs, at most


def seeded_network(
    architecture: Architecture, prior: PriorName, seed: int, images: torch.Tensor, steps: int
) -> SplitNetwork:
    """A network of random weights whose prior fits ``images``, normalised float32 (N, 3, S, S)."""
    torch.manual_seed(seed)
    network = architecture.build(prior)
    bottleneck = network.bottleneck_layer
    with torch.no_grad():
        least, largest = map(math.log10, SPREAD)
        deviation = torch.logspace(least, largest, architecture.analysis[-1])
        y = _spread(analysis_of(bottleneck), images, deviation)
        if isinstance(bottleneck, HyperpriorBottleneck):
            _spread(bottleneck.h_a, y, torch.tensor(Z_SPREAD))
    _fit(bottleneck, y, steps)
    bottleneck.entropy_bottleneck._update_quantiles()
    return network.eval()


def _spread(layers: nn.Sequential, given: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Scale the last layer so that its channels have the given ``deviation``; returns its outputs."""
    out: torch.Tensor = layers(given)
    factor = deviation / out.std((0, 2, 3)).clamp(min=1e-9)
    last = layers[-1]
    assert isinstance(last, nn.Conv2d)
    last.weight.data *= factor.view(-1, 1, 1, 1)
    return out * factor.view(1, -1, 1, 1)


def _fit(bottleneck: Bottleneck, y: torch.Tensor, steps: int) -> None:
    """Train the entropy model on fixed latents y to code them in few bits."""
    trained: list[nn.Module] = [bottleneck.entropy_bottleneck]
    if isinstance(bottleneck, HyperpriorBottleneck):
        trained += [bottleneck.h_a, bottleneck.h_s]
    optimiser = torch.optim.Adam([p for module in trained for p in module.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    bottleneck.train()
    with bar(steps, "seeded prior") as progress:
        for _ in range(steps):
            batch = y[torch.randint(len(y), (BATCH,))]
            z = (bottleneck.h_a(batch),) if isinstance(bottleneck, HyperpriorBottleneck) else ()
            _, likelihoods = bottleneck.quantise(batch, *z)
            bits = torch.stack([-likelihood.log2().sum() for likelihood in likelihoods]).sum() / BATCH
            optimiser.zero_grad()
            bits.backward()
            optimiser.step()
            schedule.step()
            progress.set_postfix(bytes=f"{bits.item() / 8:.0f}", refresh=False)
            progress.update(1)
    bottleneck.eval()
