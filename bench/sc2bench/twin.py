"""sc2bench's own twin of one of the paper's networks, for parity tests and for comparisons of speed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.common.errors import MissingPackage
from export.paper.architectures import HYPER, Architecture, PriorName

Strings = dict[str, Any]


def twin(architecture: Architecture, prior: PriorName) -> Any:
    """The same network by sc2bench, torch's initial weights, in evaluation mode.

    Raises MissingPackage where sc2bench is not installed.
    """
    try:
        from sc2bench.models import backbone
    except ImportError as error:
        raise MissingPackage("sc2bench is not installed: make setup installs it") from error
    name, analysis, synthesis = architecture.name, list(architecture.analysis), list(architecture.synthesis)
    channels: dict[str, Any] = {"num_bottleneck_channels": analysis[-1]}
    if prior == "fp":
        key = "FPBasedResNetBottleneck"
        channels |= {"encoder_channel_sizes": analysis, "decoder_channel_sizes": synthesis}
    else:
        key = "MSHPBasedResNetBottleneck"
        channels |= {"g_a_channel_sizes": analysis, "g_s_channel_sizes": synthesis}
        channels |= {"num_latent_channels": HYPER}
    config = {"key": key, "kwargs": channels}
    if name.startswith("resnet"):
        whole = {"skips_avgpool": False, "skips_fc": False}
        return backbone.splittable_resnet(config, resnet_name=name, **whole).eval()
    if name.startswith("regnet"):
        return backbone.splittable_regnet(config, regnet_name=name, skips_head=False).eval()
    import timm

    vit: Any = timm.create_model(name)
    vit.pre_logits = nn.Identity()  # which sc2bench 0.1.1 still asks for, and timm dropped
    layer = backbone.get_layer(key, **channels)
    return backbone.SplittableHybridViT(layer, vit, num_pruned_stages=1, skips_head=False).eval()


@dataclass(frozen=True)
class Sc2benchTwin:
    """A twin that is ready to code: with the weights of ``network`` and its tables filled."""

    twin: Any

    @classmethod
    def of(cls, network: nn.Module, architecture: Architecture, prior: PriorName) -> Sc2benchTwin:
        """The twin of ``network``. Raises MissingPackage where sc2bench is not installed."""
        peer = twin(architecture, prior)
        peer.load_state_dict(dict(network.state_dict()))
        peer.update()
        return cls(peer)

    def encode(self, image: torch.Tensor) -> Strings:
        """Normalised image (1, 3, 224, 224) -> strings and shape."""
        coded: Strings = self.twin.bottleneck_layer.encode(image)
        return coded

    def decode(self, coded: Strings) -> torch.Tensor:
        """Strings -> logits (1, classes)."""
        return self.classify(self.twin.bottleneck_layer.decode(**coded))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Features -> logits: the twin without its bottleneck."""
        server = copy.copy(self.twin)
        server._modules = dict(self.twin._modules) | {"bottleneck_layer": nn.Identity()}
        server.bottleneck_updated = False
        logits: torch.Tensor = server(features)
        return logits


def size_of(coded: Strings) -> int:
    """Bytes of CompressAI's strings alone, without the pickle that sc2bench measures."""
    return sum(len(string) for strings in coded["strings"] for string in strings)
