"""Two views of each photograph that differ: which of them the transform and the step are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from export.calibrate import calibration
from export.calibrate.backbones import Backbone
from export.calibrate.calibration import VIEWS, Calibrated, calibrate_backbone, step_for_loss
from export.calibrate.fisher import Calibration
from export.calibrate.patches import to_patches
from runtime.pictures import read_image
from runtime.preprocess import Preprocess


class Answers(nn.Module):
    """Answers that depend on a map of any size."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        side = features.flatten(2).mean(2)
        return 40 * (side - side.mean(1, keepdim=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs of several shapes, none of them square."""
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate([(40, 52), (64, 41), (37, 90), (48, 60), (55, 38)]):
        dark = rng.integers(1, 256, 3)
        pixels = rng.integers(0, 256, (height, width, 3)) * dark // 255
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_the_plain_views_are_the_devices_input_and_the_transform_is_made_from_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    real = calibration.calibrate

    def watch(features: torch.Tensor, *arguments: object) -> Calibration:
        seen.append(features)
        return real(features, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(calibration, "calibrate", watch)
    backbone = Backbone("pixels", nn.Identity(), Answers(), 32, 0.9, "here", None)
    made = calibrate_backbone(backbone, sorted(folder.iterdir()), folder, patch=2)
    device = Preprocess(32, 0.9)
    images = [device(read_image(path))[0] for path in sorted(folder.iterdir())]
    expected = torch.from_numpy(np.stack(images))
    assert float(expected.max()) > 0.99
    assert len(made.features) == VIEWS * len(images) and made.images == len(images)
    for features in (made.plain_features, seen[0]):
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    assert float((made.features[1::VIEWS] - expected).abs().mean()) > 0.01
    mean = to_patches(expected, 2).flatten(0, 2).mean(0).double()
    torch.testing.assert_close(made.calibration.mean, mean, rtol=0, atol=1e-6)


def test_the_step_is_for_the_plain_views() -> None:
    """Disturbed views that are ten times as loud would ask for another step; by hand, several patches."""
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(40, 2, 4, 6, generator=generator)
    analysis = torch.diag(torch.tensor([0.5, 1.0, 2.0, 1.5, 1.0, 0.7, 1.2, 3.0])).double()
    mean = torch.full((8,), 0.3).double()
    transform = Calibration(analysis, torch.linalg.inv(analysis), mean, (2, 4, 6), 2)
    views = torch.stack([plain, 10 * plain], 1).flatten(0, 1)
    y = (to_patches(plain, 2).double() - mean) @ analysis
    for loss in (0.1, 0.4, 2.0):
        step = step_for_loss(Calibrated(transform, views, 40, "made up"), loss)
        error = float((y - torch.round(y / step) * step).square().sum())
        assert error / 2 / 40 == pytest.approx(loss, rel=0.02)


@pytest.mark.parametrize(
    ("features", "patch"),
    [
        ((64, 8, 8), 4),  # 64 channels of 4x4: exactly 1,024
        ((65, 8, 8), 2),
        ((40, 28, 28), 4),  # 5 and 6 do not divide 28
        ((3, 12, 18), 6),  # divides both sides
        ((3, 18, 12), 6),
        ((1, 32, 48), 16),
        ((1280, 7, 7), 1),  # more channels than the limit
        ((5, 3, 7), 1),
        ((5, 6, 6), 6),  # the whole map
    ],
)
def test_the_largest_patch_divides_the_map_and_keeps_the_transform_small(
    features: tuple[int, int, int], patch: int
) -> None:
    assert calibration._largest_patch(features) == patch
