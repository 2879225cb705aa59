"""Which backbone has which bottleneck: the channels, sizes and normalisation of sc2bench's configurations.

Importing this needs no torch, so that ``--help`` can list the names; building a network does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from export.calibrate.backbones import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from export.paper.bottleneck import Bottleneck, Widths
    from export.paper.networks import SplitNetwork

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
    crop: side of the centred square that is kept, as a fraction of the shorter side; resized to 224 pixels.
    mean, std: of the images that the backbone was trained on, by channel, in [0, 1].
    join: puts the backbone behind a bottleneck.
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
        from export.paper.bottleneck import FactorizedBottleneck, HyperpriorBottleneck

        if prior == "fp":
            return self.join(FactorizedBottleneck(self.analysis, self.synthesis)).eval()
        return self.join(HyperpriorBottleneck(self.analysis, self.synthesis, HYPER)).eval()


def _resnet(name: str) -> Callable[[Bottleneck], SplitNetwork]:
    def join(bottleneck: Bottleneck) -> SplitNetwork:
        from torchvision import models

        from export.paper.networks import SplitResNet

        return SplitResNet(bottleneck, getattr(models, name)())

    return join


def _regnet(bottleneck: Bottleneck) -> SplitNetwork:
    import timm

    from export.paper.networks import SplitRegNet

    return SplitRegNet(bottleneck, timm.create_model("regnety_064"))


def _hybrid_vit(bottleneck: Bottleneck) -> SplitNetwork:
    import timm

    from export.paper.networks import SplitHybridViT

    return SplitHybridViT(bottleneck, timm.create_model("vit_small_r26_s32_224"))


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
            _regnet,
        ),
        Architecture(
            "vit_small_r26_s32_224", (3, 64, 64, 64), (64, 512, 256, 256), SIZE / 248, (0.5,) * 3, (0.5,) * 3,
            _hybrid_vit,
        ),
    )
}  # fmt: skip
