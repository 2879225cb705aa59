"""A backbone of your own: any torch classifier that ``torch.fx`` can trace, made by a function.

python -m export calibrate --backbone examples.backbone:classifier --cut features --size 32 --data DIR -o out
"""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Module):
    """Two convolutions that the device runs, and a layer that the server runs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.answer = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ImageNet-normalised images (N, 3, S, S) -> logits (N, 10)."""
        features: torch.Tensor = self.features(x)
        return self.answer(features.mean((2, 3)))


def classifier() -> nn.Module:
    """The classifier. Load your trained weights here: random ones cannot be calibrated."""
    torch.manual_seed(0)
    return Small()
