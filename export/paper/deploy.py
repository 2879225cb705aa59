"""A network as the three graphs of a bundle: head (device), restore and tail (server).

Medians are folded in, so that symbols are whole numbers: the head takes them off, restore adds them again.
Images come as [0, 1]; normalisation is inside the head.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN1
from torch import nn
from torch.nn import functional

from export.paper.architectures import Architecture
from export.paper.bottleneck import Bottleneck, HyperpriorBottleneck, analysis_of, synthesis_of
from export.paper.networks import SplitNetwork
from export.paper.tiled import TiledConv, pays
from runtime.codec.tables import ESCAPE_FLOOR, MAX_TABLE_SIZE, Tables


def medians_of(density: EntropyBottleneck) -> torch.Tensor:
    """What a decoded symbol is relative to, float32 (C,): symbol = round(value - median)."""
    return density.quantiles[:, 0, 1].detach().clone()


@torch.no_grad()
def density_tables(density: EntropyBottleneck) -> Tables:
    """One table a channel, of symbols relative to the median, between the density's outer quantiles.

    What lies outside is an escape; it gets the mass that the density has there, 2**-18 at least.
    """
    low, median, high = density.quantiles[:, 0, :].double().unbind(1)
    below = torch.ceil(median - low).clamp(0, MAX_TABLE_SIZE // 4).int()
    above = torch.ceil(high - median).clamp(0, MAX_TABLE_SIZE // 4).int()
    reach = int(torch.maximum(below, above).max())
    symbols = torch.arange(-reach, reach + 1)
    values = density.quantiles[:, :, 1:2] + symbols
    likelihood, _, _ = density._likelihood(values)
    mass = likelihood[:, 0].double().clamp(min=0).numpy()
    histograms = [mass[c, reach - int(below[c]) : reach + int(above[c]) + 1] for c in range(len(mass))]
    escapes = [float(np.clip(1 - h.sum(), ESCAPE_FLOOR, 0.5)) for h in histograms]
    return Tables.from_counts(histograms, [-int(b) for b in below], escapes)


class FoldedGDN(nn.Module):
    """GDN1 with its parameters as they are after reparametrisation: x / (beta + gamma |x|), or x times it."""

    def __init__(self, gdn: GDN1):
        super().__init__()
        gamma = gdn.gamma_reparam(gdn.gamma).detach()
        self.gamma = nn.Buffer(gamma.reshape(*gamma.shape, 1, 1))
        self.beta = nn.Buffer(gdn.beta_reparam(gdn.beta).detach())
        self.inverse = gdn.inverse

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, C, H, W) -> the same shape."""
        norm = functional.conv2d(x.abs(), self.gamma, self.beta)
        return x * norm if self.inverse else x / norm


class Head(nn.Module):
    """float32 (N, 3, S, S) in [0, 1] -> y, or (y, z), medians of what a learned density codes taken off."""

    def __init__(self, bottleneck: Bottleneck, architecture: Architecture):
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(architecture.mean).view(1, -1, 1, 1))
        self.analysis = _folded(analysis_of(bottleneck))
        first = self.analysis[0]
        assert isinstance(first, nn.Conv2d)
        first.weight.data /= torch.tensor(architecture.std).view(1, -1, 1, 1)
        self.h_a: nn.Sequential | None = None
        medians = medians_of(bottleneck.entropy_bottleneck)
        if isinstance(bottleneck, HyperpriorBottleneck):
            self.h_a = copy.deepcopy(bottleneck.h_a)
            _subtract(self.h_a, medians)
        else:
            _subtract(self.analysis, medians)

    def forward(self, image: torch.Tensor) -> Any:
        """Image -> latents."""
        y = self.analysis(image - self.mean)
        return y if self.h_a is None else (y, self.h_a(y))


class Restore(nn.Module):
    """y_hat as the runtime has it -> features."""

    def __init__(self, bottleneck: Bottleneck):
        super().__init__()
        self.synthesis = _folded(synthesis_of(bottleneck))
        hyperprior = isinstance(bottleneck, HyperpriorBottleneck)
        medians = medians_of(bottleneck.entropy_bottleneck).view(1, -1, 1, 1)
        self.medians = None if hyperprior else nn.Buffer(medians)

    def forward(self, y_hat: torch.Tensor) -> torch.Tensor:
        """y_hat (N, C, H, W) -> features."""
        features: torch.Tensor = self.synthesis(y_hat if self.medians is None else y_hat + self.medians)
        return features


class Tail(nn.Module):
    """Features -> logits."""

    def __init__(self, network: SplitNetwork):
        super().__init__()
        self.network = copy.deepcopy(network)
        del self.network.bottleneck_layer

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N, C, H, W) -> logits (N, classes)."""
        return self.network.tail(features)


def _folded(layers: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*map(_deployed, copy.deepcopy(layers)))


def _deployed(layer: nn.Module) -> nn.Module:
    """The same function with fewer operations."""
    if isinstance(layer, GDN1):
        return FoldedGDN(layer)
    return TiledConv(layer) if pays(layer) else layer


def _subtract(layers: nn.Sequential, medians: torch.Tensor) -> None:
    """Give the last convolution, which has no bias, minus the medians as bias."""
    last = layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is None
    last.bias = nn.Parameter(-medians)
