"""Which backbone has which bottleneck: the channels, sizes and normalisation of sc2bench's configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from export.calibrate.backbones import IMAGENET_MEAN, IMAGENET_STD
from export.paper.bottleneck import Bottleneck, FactorizedBottleneck, HyperpriorBottleneck, Widths
from export.paper.networks import SplitHybridViT, SplitNetwork, SplitRegNet, SplitResNet

BETAS = (0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
"""Rate-distortion factors of the published checkpoints; larger beta, fewer bytes."""

SIZE = 224
HYPER = 16  # channels of z

PriorName = Literal["fp", "mshp"]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Architecture:
    """One of the paper's networks.

    analysis, synthesis: channels of the bottleneck.
    crop: the centred square that is kept, as a fraction of the shorter side: 224 pixels of those it is
        resized to.
    """

    name: str
    analysis: Widths
    synthesis: Widths
    crop: float
    mean: Rgb
    std: Rgb
    join: Callable[[Bottleneck], SplitNetwork]

    def build(self, prior: PriorName) -> SplitNetwork:
        """The network with torch's initial weights, in evaluation mode."""
        bottleneck: Bottleneck = (
            FactorizedBottleneck(self.analysis, self.synthesis)
            if prior == "fp"
            else HyperpriorBottleneck(self.analysis, self.synthesis, HYPER)
        )
        return self.join(bottleneck).eval()


def _resnet(name: str) -> Callable[[Bottleneck], SplitNetwork]:
    def join(bottleneck: Bottleneck) -> SplitNetwork:
        from torchvision import models

        return SplitResNet(bottleneck, getattr(models, name)())

    return join


def _timm(name: str, network: Callable[[Bottleneck, nn.Module], SplitNetwork]) -> Callable[..., SplitNetwork]:
    def join(bottleneck: Bottleneck) -> SplitNetwork:
        import timm

        return network(bottleneck, timm.create_model(name))

    return join


_RESNET_WIDTHS: tuple[Widths, Widths] = (3, 96, 48, 24), (24, 512, 256, 256)

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "resnet50", *_RESNET_WIDTHS, SIZE / 256, IMAGENET_MEAN, IMAGENET_STD, _resnet("resnet50")
        ),
        Architecture(
            "resnet101", *_RESNET_WIDTHS, SIZE / 256, IMAGENET_MEAN, IMAGENET_STD, _resnet("resnet101")
        ),
        Architecture(
            "regnety_064", (3, 64, 64, 64), (64, 288, 144, 144), SIZE / 256, IMAGENET_MEAN, IMAGENET_STD,
            _timm("regnety_064", SplitRegNet),
        ),
        Architecture(
            "vit_small_r26_s32_224", (3, 64, 64, 64), (64, 512, 256, 256), SIZE / 248, (0.5,) * 3, (0.5,) * 3,
            _timm("vit_small_r26_s32_224", SplitHybridViT),
        ),
    )
}  # fmt: skip
