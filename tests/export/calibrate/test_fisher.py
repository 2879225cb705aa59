"""The calibrated transform against the mathematics that it claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.calibrate.calibration import VIEWS, Calibrated, step_for_loss
from export.calibrate.fisher import REGULARISER, Calibration, calibrate, fisher_information
from export.calibrate.patches import to_patches
from export.calibrate.transform import transform_at
from export.errors import CalibrationError
from export.tasks.classification import ClassDivergence
from tests.export.models import classifier


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(96, 3, 8, 8)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    with torch.no_grad():
        return classifier().features(images)


def tail() -> torch.nn.Module:
    model = classifier()

    class Tail(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.more, self.last = model.more, model.last

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.more(x).mean((2, 3)))

    return Tail()


@pytest.fixture(scope="module")
def calibration(features: torch.Tensor) -> Calibration:
    return calibrate(features, tail(), ClassDivergence(), patch=2)


@given(
    n=st.integers(1, 3),
    c=st.integers(1, 4),
    p=st.integers(1, 4),
    rows=st.integers(1, 3),
    cols=st.integers(1, 3),
)
@settings(max_examples=50)
def test_patches_are_squares_of_the_map(n: int, c: int, p: int, rows: int, cols: int) -> None:
    x = torch.arange(n * c * p * p * rows * cols, dtype=torch.float32).reshape(n, c, p * rows, p * cols)
    patches = to_patches(x, p)
    assert patches.shape == (n, rows, cols, c * p * p)
    for row, column in np.ndindex(rows, cols):
        square = x[:, :, row * p : (row + 1) * p, column * p : (column + 1) * p]
        assert torch.equal(patches[:, row, column].reshape(n, c, p, p), square)


def test_patches_must_divide() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        to_patches(torch.zeros(1, 1, 5, 4), 2)


def test_synthesis_inverts_analysis(calibration: Calibration) -> None:
    identity = calibration.analysis @ calibration.synthesis
    assert torch.allclose(identity, torch.eye(len(identity), dtype=torch.float64), atol=1e-9)


def test_coefficients_are_uncorrelated_and_sorted(calibration: Calibration, features: torch.Tensor) -> None:
    patches = to_patches(features, 2).flatten(0, 2).double()
    y = (patches - calibration.mean) @ calibration.analysis
    covariance = y.T @ y / len(y)
    variances = covariance.diagonal()
    off = covariance - torch.diag(variances)
    assert float(off.abs().max()) < 1e-9 * float(variances.max())
    assert bool((variances[:-1] >= variances[1:] - 1e-12).all())


def test_the_metric_is_the_fisher_information(calibration: Calibration, features: torch.Tensor) -> None:
    metric = fisher_information(features, tail(), ClassDivergence(), 2)
    metric += REGULARISER * metric.diagonal().mean() * torch.eye(len(metric), dtype=torch.float64)
    assert torch.allclose(calibration.analysis @ calibration.analysis.T, metric, rtol=1e-6, atol=1e-12)


def test_fisher_of_a_linear_softmax_is_the_closed_form() -> None:
    """For logits = W f the Fisher matrix is W^T (diag p - p p^T) W; sampled labels converge to it."""
    torch.manual_seed(1)
    weight = torch.randn(4, 3)

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ weight.T

    f = torch.randn(1, 3, 1, 1)
    p = torch.softmax(f.flatten() @ weight.T, 0)
    expected = weight.T @ (torch.diag(p) - torch.outer(p, p)) @ weight
    sampled = fisher_information(f.expand(6000, 3, 1, 1).contiguous(), Linear(), ClassDivergence(), 1)
    assert torch.allclose(sampled.float(), expected, atol=0.05 * float(expected.abs().max()))


def test_fisher_of_several_patches_is_the_mean_over_them() -> None:
    """Four patches an image that matter unequally: the mean of the closed form's blocks, not their sum."""
    torch.manual_seed(1)
    weight = torch.randn(4, 2 * 4 * 4) * torch.linspace(0.2, 1.5, 32)

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ weight.T

    f = torch.randn(1, 2, 4, 4)
    p = torch.softmax(f.flatten() @ weight.T, 0)
    of_patches = to_patches(weight.reshape(4, 2, 4, 4), 2).flatten(1, 2)  # class, patch, row of the patch
    blocks = torch.einsum("cpi,cd,dpj->pij", of_patches, torch.diag(p) - torch.outer(p, p), of_patches)
    assert float(blocks.diagonal(dim1=1, dim2=2).sum(1).max()) > 3 * float(blocks[0].trace())
    sampled = fisher_information(f.expand(5000, 2, 4, 4).contiguous(), Linear(), ClassDivergence(), 2)
    expected = blocks.mean(0)
    assert torch.allclose(sampled.float(), expected, atol=0.06 * float(expected.abs().max()))


def test_restore_inverts_analysis_when_all_is_sent(calibration: Calibration, features: torch.Tensor) -> None:
    transform = transform_at(calibration, features, step=1e-6)
    assert transform.analysis.out_channels == len(calibration.mean)
    with torch.no_grad():
        again = transform.restore(transform.analysis(features))
    assert torch.allclose(again, features, atol=2e-4)
    assert torch.allclose(torch.from_numpy(transform.energy).sum((1, 2)), torch.ones(len(transform.energy)))


def test_step_for_loss_hits_the_loss(calibration: Calibration, features: torch.Tensor) -> None:
    calibrated = Calibrated(calibration, features.repeat_interleave(VIEWS, 0), len(features), "test")
    patches = to_patches(features, 2).double()
    y = (patches - calibration.mean) @ calibration.analysis
    everything = float(y.square().sum()) / 2 / len(features)
    for share in (0.01, 0.1, 0.5):
        step = step_for_loss(calibrated, share * everything)
        loss = float((y - torch.round(y / step) * step).square().sum()) / 2 / len(features)
        assert loss == pytest.approx(share * everything, rel=0.05)
    with pytest.raises(CalibrationError, match="sending nothing costs"):
        step_for_loss(calibrated, 2 * everything)
