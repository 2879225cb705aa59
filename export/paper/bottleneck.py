"""The bottlenecks of Entropic Students: a small convolutional autoencoder with an entropy model inside.

    factorized (fp)              x -> encoder -> y -> round -> y_hat -> decoder -> features
    mean-scale hyperprior (mshp) x -> g_a -> y -> h_a -> z -> round -> z_hat -> h_s -> (scale, mean) of y
                                 y_hat = round(y - mean) + mean -> g_s -> features

Parameters and buffers are named and shaped as in sc2bench, so that its checkpoints fit.
Source: Matsubara et al., "Supervised Compression for Resource-Constrained Edge Computing Systems" (WACV
2022) and "SC2 Benchmark: Supervised Compression for Split Computing" (TMLR 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.layers import GDN1
from torch import nn

Widths = tuple[int, int, int, int]
"""Channels into the first of three convolutions, and out of each."""


class FactorizedBottleneck(nn.Module):
    """One learned density a channel of y."""

    def __init__(self, analysis: Widths, synthesis: Widths):
        super().__init__()
        self.entropy_bottleneck = EntropyBottleneck(analysis[-1])
        self.encoder = _analysis(analysis)
        self.decoder = _synthesis(synthesis)

    def latents(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Normalised image (N, 3, S, S) -> (y,), y (N, C, H, W)."""
        return (self.encoder(image),)

    def quantise(self, y: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """y -> y_hat and (likelihood of y,), shaped like y; in training uniform noise replaces rounding."""
        y_hat, likelihood = self.entropy_bottleneck(y)
        return y_hat, (likelihood,)

    def restore(self, y_hat: torch.Tensor) -> torch.Tensor:
        """y_hat -> features in place of those of the backbone's first stage."""
        features: torch.Tensor = self.decoder(y_hat)
        return features


class HyperpriorBottleneck(nn.Module):
    """z gives the scale and mean of each symbol of y; one learned density a channel codes z."""

    def __init__(self, analysis: Widths, synthesis: Widths, hyper: int):
        super().__init__()
        channels = analysis[-1]
        self.entropy_bottleneck = EntropyBottleneck(hyper)
        self.g_a = _analysis(analysis)
        self.g_s = _synthesis(synthesis)
        self.h_a = nn.Sequential(
            nn.Conv2d(channels, hyper, 5, stride=2, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.Conv2d(hyper, hyper, 5, stride=2, padding=2, bias=False),
        )
        self.h_s = nn.Sequential(
            nn.ConvTranspose2d(hyper, hyper, 5, stride=2, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(hyper, hyper * 3 // 2, 5, stride=2, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.Conv2d(hyper * 3 // 2, 2 * channels, 5, bias=False),
        )
        self.gaussian_conditional = GaussianConditional(None)

    def latents(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Normalised image (N, 3, S, S) -> (y, z)."""
        y = self.g_a(image)
        return y, self.h_a(y)

    def quantise(self, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """y, z -> y_hat and the likelihoods of (z, y); in training uniform noise replaces rounding."""
        z_hat, z_likelihood = self.entropy_bottleneck(z)
        scale, mean = self.parameters_of_y(z_hat)
        y_hat, y_likelihood = self.gaussian_conditional(y, scale, means=mean)
        return y_hat, (z_likelihood, y_likelihood)

    def parameters_of_y(self, z_hat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """z_hat -> scale and mean of each symbol of y; a scale below 0.11, even negative, acts as 0.11."""
        scale, mean = self.h_s(z_hat).chunk(2, 1)
        return scale, mean

    def restore(self, y_hat: torch.Tensor) -> torch.Tensor:
        """y_hat -> features in place of those of the backbone's first stage."""
        features: torch.Tensor = self.g_s(y_hat)
        return features


Bottleneck = FactorizedBottleneck | HyperpriorBottleneck


def analysis_of(bottleneck: Bottleneck) -> nn.Sequential:
    """The layers image -> y."""
    return bottleneck.encoder if isinstance(bottleneck, FactorizedBottleneck) else bottleneck.g_a


def synthesis_of(bottleneck: Bottleneck) -> nn.Sequential:
    """The layers y_hat -> features."""
    return bottleneck.decoder if isinstance(bottleneck, FactorizedBottleneck) else bottleneck.g_s


def _analysis(widths: Widths) -> nn.Sequential:
    image, first, second, channels = widths
    halving: dict[str, Any] = {"kernel_size": 5, "stride": 2, "padding": 2, "bias": False}
    return nn.Sequential(
        nn.Conv2d(image, first, **halving),
        GDN1(first),
        nn.Conv2d(first, second, **halving),
        GDN1(second),
        nn.Conv2d(second, channels, kernel_size=2, bias=False),
    )


def _synthesis(widths: Widths) -> nn.Sequential:
    channels, first, second, features = widths
    return nn.Sequential(
        nn.Conv2d(channels, first, kernel_size=2, padding=1, bias=False),
        GDN1(first, inverse=True),
        nn.Conv2d(first, second, kernel_size=2, bias=False),
        GDN1(second, inverse=True),
        nn.Conv2d(second, features, kernel_size=2, padding=1, bias=False),
    )
