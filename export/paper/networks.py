"""The paper's backbones behind a bottleneck that replaces their first stage.

Children are named as in sc2bench. Each network has ``bottleneck_layer`` and ``tail(features) -> logits``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.paper.bottleneck import Bottleneck


class SplitNetwork(nn.Module):
    """A classifier that begins with a bottleneck."""

    bottleneck_layer: Bottleneck

    def __init__(self, bottleneck: Bottleneck):
        super().__init__()
        self.bottleneck_layer = bottleneck

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """features (N, C, H, W) -> logits (N, classes)."""
        raise NotImplementedError

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image (N, 3, S, S) -> logits; the bottleneck quantises as its mode says."""
        bottleneck = self.bottleneck_layer
        y_hat, _ = bottleneck.quantise(*bottleneck.latents(image))
        return self.tail(bottleneck.restore(y_hat))


class SplitResNet(SplitNetwork):
    """torchvision's ResNet from its second stage on."""

    def __init__(self, bottleneck: Bottleneck, resnet: Any):
        super().__init__(bottleneck)
        self.layer2: nn.Module = resnet.layer2
        self.layer3: nn.Module = resnet.layer3
        self.layer4: nn.Module = resnet.layer4
        self.avgpool: nn.Module = resnet.avgpool
        self.fc: nn.Module = resnet.fc

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """See ``SplitNetwork.tail``."""
        x = self.layer4(self.layer3(self.layer2(features)))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class SplitRegNet(SplitNetwork):
    """timm's RegNet from its second stage on."""

    def __init__(self, bottleneck: Bottleneck, regnet: Any):
        super().__init__(bottleneck)
        self.s2: nn.Module = regnet.s2
        self.s3: nn.Module = regnet.s3
        self.s4: nn.Module = regnet.s4
        self.head: nn.Module = regnet.head

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """See ``SplitNetwork.tail``."""
        logits: torch.Tensor = self.head(self.s4(self.s3(self.s2(features))))
        return logits


class SplitHybridViT(SplitNetwork):
    """timm's vision transformer on a ResNet, from that ResNet's second stage on."""

    def __init__(self, bottleneck: Bottleneck, vit: Any):
        super().__init__(bottleneck)
        embed = vit.patch_embed
        self.patch_embed_pruned_stages: nn.Module = embed.backbone.stages[1:]
        self.patch_embed_norm: nn.Module = embed.backbone.norm
        self.patch_embed_head: nn.Module = embed.backbone.head
        self.patch_embed_proj: nn.Module = embed.proj
        self.cls_token: nn.Parameter = vit.cls_token
        self.pos_embed: nn.Parameter = vit.pos_embed
        self.pos_drop: nn.Module = vit.pos_drop
        self.blocks: nn.Module = vit.blocks
        self.norm: nn.Module = vit.norm
        self.head: nn.Module = vit.head

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        """See ``SplitNetwork.tail``."""
        x = self.patch_embed_head(self.patch_embed_norm(self.patch_embed_pruned_stages(features)))
        x = self.patch_embed_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(self.pos_drop(x + self.pos_embed)))
        logits: torch.Tensor = self.head(x[:, 0])
        return logits
