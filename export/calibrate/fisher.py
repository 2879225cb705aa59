"""Fisher-weighted transform coding: a bottleneck by calibration instead of by long training.

Around a feature vector f the divergence of the answer grows, to second order, as 1/2 (f' - f)^T H (f' - f). H
is the Fisher information of its output. The code is y = U^T A (f - mean), with A = H^(1/2), C the covariance
of f and U the eigenvectors of A C A. A unit of error then costs the same loss in every coefficient, and the
coefficients are uncorrelated; so one quantisation step for all of them is near-optimal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from export.calibrate.patches import to_patches
from export.tasks import Objective

REGULARISER = 1e-2  # of H's mean diagonal: gives a cost to directions that no sample moved


@dataclass(frozen=True)
class Calibration:
    """The transform of one backbone and cut, for every rate.

    analysis: float64 (d, d), y = (f - mean) @ analysis, in units of sqrt(2 nats), by falling variance.
    synthesis: float64 (d, d), f = y @ synthesis + mean.
    mean: float64 (d,).
    features: (C, H, W) of the cut; patch: P, so that d = C P P.
    """

    analysis: torch.Tensor
    synthesis: torch.Tensor
    mean: torch.Tensor
    features: tuple[int, int, int]
    patch: int


def calibrate(
    features: torch.Tensor,
    tail: nn.Module,
    objective: Objective,
    patch: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Calibration:
    """Calibrate on ``features``, float32 (N, C, H, W), by the network's own answers, without labels."""
    patches = to_patches(features, patch).flatten(0, 2)
    mean = patches.mean(0, dtype=torch.float64)
    covariance = _second_moment(patches, mean)
    metric = fisher_information(features, tail, objective, patch, progress)
    d = len(mean)
    metric += REGULARISER * metric.diagonal().mean() * torch.eye(d, dtype=torch.float64)
    root, inverse_root = _roots(metric)
    variances, basis = torch.linalg.eigh(root @ covariance @ root)
    basis = basis[:, torch.argsort(variances, descending=True)]
    _, c, h, w = features.shape
    return Calibration(root @ basis, basis.T @ inverse_root, mean, (c, h, w), patch)


def fisher_information(
    features: torch.Tensor,
    tail: nn.Module,
    objective: Objective,
    patch: int,
    progress: Callable[[int], None] = lambda done: None,
) -> torch.Tensor:
    """E[g g^T] over patches, float64 (d, d), g the gradient of a draw of the objective."""
    for parameter in tail.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    d = features.shape[1] * patch * patch
    total, count = torch.zeros(d, d, dtype=torch.float64), 0
    for batch in features.split(32):
        leaf = batch.clone().requires_grad_(True)
        draws = objective.draws(tail(leaf), generator)
        for number, draw in enumerate(draws, start=1):
            (gradient,) = torch.autograd.grad(draw, leaf, retain_graph=number < len(draws))
            g = to_patches(gradient, patch).flatten(0, 2).double()
            total += g.T @ g
            count += len(g)
        progress(len(batch))
    return total / count


def _second_moment(patches: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Covariance in float64, in chunks: a float64 copy of all patches may not fit into memory."""
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for chunk in patches.split(16384):
        centred = chunk.double() - mean
        total += centred.T @ centred
    return total / len(patches)


def _roots(metric: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric square root of a positive definite matrix, and the root's inverse."""
    values, vectors = torch.linalg.eigh(metric)
    root = values.sqrt()
    return vectors @ torch.diag(root) @ vectors.T, vectors @ torch.diag(1 / root) @ vectors.T
