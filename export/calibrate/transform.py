"""The calibrated transform as layers: a strided convolution in the head, a transposed one in restore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.calibrate.fisher import Calibration
from export.calibrate.patches import to_patches

ACTIVE_SHARE = 2e-4  # a coefficient that leaves zero less often than this is not sent
REFINEMENT_WIDTH = 64  # channels between the two layers of the residual network


def active_coefficients(calibration: Calibration, features: torch.Tensor, step: float) -> torch.Tensor:
    """Which coefficients are worth sending at this step: bool (d,)."""
    count = torch.zeros(len(calibration.mean), dtype=torch.int64)
    patches = to_patches(features, calibration.patch).flatten(0, 2)
    analysis, mean = calibration.analysis.float(), calibration.mean.float()
    for chunk in patches.split(16384):
        count += (((chunk - mean) @ analysis).abs() > step / 2).sum(0)
    return count > ACTIVE_SHARE * len(patches)


@dataclass(frozen=True)
class Transform:
    """The layers between backbone head and tail at one rate.

    analysis: features (N, C, H, W) -> y (N, n, H/P, W/P), in units of one quantisation step.
    restore: y_hat -> features; an ``InverseTransform``, or a ``RefinedInverse`` once it is tuned.
    energy: float32 (n, P, P), the spread of each coefficient's basis function over its patch; each sums to 1.
    step: in units of the calibration, sqrt(2 nats).
    """

    analysis: nn.Conv2d
    restore: nn.Module
    energy: NDArray[np.float32]
    step: float


def transform_at(calibration: Calibration, features: torch.Tensor, step: float) -> Transform:
    """The calibrated transform at one step, with the coefficients that ``features`` make active."""
    active = active_coefficients(calibration, features, step)
    return Transform(
        _analysis(calibration, step, active),
        InverseTransform(calibration, step, active).requires_grad_(False),
        _basis_energy(calibration, active),
        step,
    )


def _analysis(calibration: Calibration, step: float, active: torch.Tensor) -> nn.Conv2d:
    channels, patch = calibration.features[0], calibration.patch
    matrix = calibration.analysis[:, active] / step
    layer = nn.Conv2d(channels, int(active.sum()), patch, stride=patch)
    layer.weight.data = matrix.T.reshape(-1, channels, patch, patch).float()
    layer.bias = nn.Parameter(-(calibration.mean @ matrix).float())
    return layer.requires_grad_(False)


class InverseTransform(nn.Module):
    """The inverse transform: a transposed convolution, then the mean patch, repeated over the map."""

    def __init__(self, calibration: Calibration, step: float, active: torch.Tensor):
        super().__init__()
        channels, height, width = calibration.features
        patch = calibration.patch
        self.convolution = nn.ConvTranspose2d(int(active.sum()), channels, patch, stride=patch, bias=False)
        matrix = calibration.synthesis[active] * step
        self.convolution.weight.data = matrix.reshape(-1, channels, patch, patch).float()
        mean = calibration.mean.reshape(1, channels, patch, patch).float()
        self.register_buffer("mean", mean.repeat(1, 1, height // patch, width // patch))

    def forward(self, y_hat: torch.Tensor) -> torch.Tensor:
        """y_hat -> features."""
        restored: torch.Tensor = self.convolution(y_hat) + self.mean
        return restored


class RefinedInverse(nn.Module):
    """An inverse transform, then a residual network that learns to undo what rounding did to the features.

    It runs on the server alone. Untrained it changes nothing: its last layer is zero.
    spread: float32 (C,), the standard deviation of each feature channel, the unit in which the network works.
    """

    spread: torch.Tensor

    def __init__(self, inverse: InverseTransform, spread: torch.Tensor):
        super().__init__()
        self.inverse = inverse
        self.wide = nn.Conv2d(len(spread), REFINEMENT_WIDTH, 3, padding=1)
        self.narrow = nn.Conv2d(REFINEMENT_WIDTH, len(spread), 3, padding=1)
        for parameter in self.narrow.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("spread", spread.reshape(1, -1, 1, 1).clone())

    def forward(self, y_hat: torch.Tensor) -> torch.Tensor:
        """y_hat -> features."""
        features: torch.Tensor = self.inverse(y_hat)
        return features + self.spread * self.narrow(torch.relu(self.wide(features / self.spread)))


def _basis_energy(calibration: Calibration, active: torch.Tensor) -> NDArray[np.float32]:
    channels, patch = calibration.features[0], calibration.patch
    basis = calibration.synthesis[active].reshape(-1, channels, patch, patch)
    energy = basis.square().sum(1)
    return (energy / energy.sum((1, 2), keepdim=True)).float().numpy()
