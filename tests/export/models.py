"""A classifier small enough to calibrate and build in a test: seeded weights, 3x32x32 -> 10 classes."""

from __future__ import annotations

import torch
from torch import nn

OWN = ["--backbone", "tests.export.models:classifier", "--cut", "features", "--size", "32", "--patch", "2"]


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, padding=1)
        )
        self.more = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 12, 3, padding=1), nn.ReLU())
        self.last = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.more(self.features(x)).mean((2, 3)))


def classifier() -> nn.Module:
    torch.manual_seed(0)
    model = Classifier().eval()
    for layer in (model.features[0], model.features[2], model.more[1]):
        layer.weight.data *= 3  # features that differ from image to image,
    model.last.weight.data *= 15  # and predictions that depend on them: a Fisher matrix worth the name
    return model
