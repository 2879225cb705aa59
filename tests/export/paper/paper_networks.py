"""What the tests of ``export.paper`` share: twins by sc2bench, photographs, a tiny network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.common.photos import photos
from bench.sc2bench.twin import twin
from export.paper.architectures import SIZE, Architecture, PriorName
from export.paper.bottleneck import Bottleneck
from export.paper.networks import SplitNetwork
from runtime.preprocess import Preprocess, to_input


def sc2bench_twin(architecture: Architecture, prior: PriorName) -> Any:
    """The same network by sc2bench; skips where that is not installed."""
    pytest.importorskip("sc2bench", reason="sc2bench is not installed: make setup")
    return twin(architecture, prior)


def squares(count: int, crop: float) -> list[np.ndarray]:
    """uint8 (224, 224, 3) of the sample photographs."""
    return [Preprocess(SIZE, crop).square(image) for _, image in photos()[:count]]


def as_images(frames: list[np.ndarray]) -> torch.Tensor:
    """float32 (N, 3, 224, 224) in [0, 1]."""
    return torch.from_numpy(np.concatenate([to_input(frame) for frame in frames]))


def normalise(images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (architecture.mean, architecture.std))
    return (images - mean) / std


class TinyTail(SplitNetwork):
    def __init__(self, bottleneck: Bottleneck):
        super().__init__(bottleneck)
        self.fc = nn.Linear(8, 10)

    def tail(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(features.relu().mean((2, 3)))


TINY = Architecture("tiny", (3, 6, 6, 4), (4, 8, 8, 8), 0.875, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), TinyTail)
