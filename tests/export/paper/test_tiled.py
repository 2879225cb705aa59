"""Tiled convolutions against torch's, in float64, where nothing but a wrong formula is larger than 1e-12."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from export.graphs.torch_graph import TorchGraph
from export.graphs.torch_to_onnx import write_graph
from export.paper.tiled import WIDE, TiledConv, pays


def convolution(channels: int, outputs: int, padding: int, seed: int) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(channels, outputs, kernel_size=2, padding=padding, bias=False)


@settings(max_examples=30)
@given(
    channels=st.integers(1, 9), outputs=st.integers(1, 9), tiles=st.integers(1, 6),
    padding=st.integers(0, 1), batch=st.integers(1, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_the_convolution(channels, outputs, tiles, padding, batch, seed):
    plain = convolution(channels, outputs, padding, seed).double()
    x = torch.randn(batch, channels, 2 * tiles - padding, 2 * tiles - padding, dtype=torch.float64)
    expected = plain(x)
    actual = TiledConv(plain)(x)
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, atol=1e-12, rtol=0)


def test_products_are_nine_sixteenths():
    plain = convolution(8, 5, 1, 0)
    tiled = TiledConv(plain)
    x = torch.randn(1, 8, 27, 27)
    outputs = plain(x)[0, 0].numel()
    of_plain = plain.weight.numel() * outputs
    of_tiled = sum(weight.numel() for weight in tiled.products) * outputs // 4
    assert 16 * of_tiled == 9 * of_plain


@pytest.mark.parametrize(("size", "padding"), [(7, 0), (8, 1)])
def test_other_sizes_are_refused(size, padding):
    with pytest.raises(ValueError, match="no whole tiles"):
        TiledConv(convolution(2, 2, padding, 0))(torch.zeros(1, 2, size, size))


def test_only_wide_2x2_convolutions_pay():
    assert pays(convolution(WIDE, 4, 1, 0))
    assert not pays(convolution(WIDE - 1, 4, 1, 0))
    assert not pays(nn.Conv2d(WIDE, 4, 3, bias=False))
    assert not pays(nn.Conv2d(WIDE, 4, 2))
    assert not pays(nn.Conv2d(WIDE, 4, 2, stride=2, bias=False))
    assert not pays(nn.ReLU())


@pytest.mark.parametrize("padding", [0, 1])
def test_its_graph_is_the_same_function_for_any_batch(tmp_path, padding):
    plain = convolution(3, 4, padding, 1)
    size = 8 - padding
    write_graph(TiledConv(plain), torch.randn(1, 3, size, size), tmp_path / "g.onnx", ["x"], ["y"])
    x = torch.randn(2, 3, size, size)
    (actual,) = TorchGraph(tmp_path / "g.onnx")(x)
    assert torch.allclose(actual, plain(x), atol=1e-5)
