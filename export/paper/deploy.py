"""A network as the three modules of a bundle: head (on the device), restore and tail (on the server).

Symbols are whole numbers: the head subtracts the medians, restore adds them. The head takes images in [0, 1]
and normalises them itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from compressai.layers import GDN1
from torch import nn
from torch.nn import functional

from export.paper.architectures import Architecture
from export.paper.bottleneck import Bottleneck, HyperpriorBottleneck, analysis_of, synthesis_of
from export.paper.density import medians_of
from export.paper.networks import SplitNetwork
from export.paper.tiled import TiledConv, pays


class FoldedGDN(nn.Module):
    """GDN1 after its reparametrisation: x / (beta + gamma |x|), or the inverse, x (beta + gamma |x|)."""

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


class HeadModule(nn.Module):
    """float32 (N, 3, S, S) in [0, 1] -> y, or (y, z).

    The latent that a learned density codes, y or z, comes without its medians.
    """

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


class RestoreModule(nn.Module):
    """y_hat, medians subtracted, -> features."""

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


class TailModule(nn.Module):
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
    """A layer that computes the same with fewer operations."""
    if isinstance(layer, GDN1):
        return FoldedGDN(layer)
    return TiledConv(layer) if pays(layer) else layer


def _subtract(layers: nn.Sequential, medians: torch.Tensor) -> None:
    """Subtract the medians in the last convolution, which had no bias."""
    last = layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is None
    last.bias = nn.Parameter(-medians)
