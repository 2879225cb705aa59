"""The integer network against torch in float64, its graph on every engine setting, and its bounds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graphs.integer_graph import write_integer_network
from export.graphs.polyphase import polyphase, repeat_for_phases
from runtime.bundle import ROBUST, installed, load
from runtime.engines import EngineOptions, Optimisation, open_engine
from runtime.errors import BundleError
from runtime.prior import open_prior
from runtime.prior.exact import ACCUMULATOR_LIMIT, IntegerNetwork, Layer
from tests.tiny_bundle import rewrite


def make_layer(
    rng: np.random.Generator, transposed: bool, kernel: int, stride: int, padding: int, out: int
) -> Layer:
    shape = (3, out, kernel, kernel) if transposed else (out, 3, kernel, kernel)
    return Layer(
        weight=rng.integers(-127, 128, shape).astype(np.int32),
        bias=rng.integers(-5000, 5000, out).astype(np.int32),
        transposed=transposed,
        stride=stride,
        padding=padding,
        output_padding=int(transposed and stride == 2),
        shift=5,
        low=-127,
        high=127,
    )


def by_torch(layer: Layer, a: np.ndarray) -> np.ndarray:
    """The same layer by an independent implementation, in float64, where these integers are exact."""
    torch = pytest.importorskip("torch")  # the edge install has none
    x = torch.from_numpy(a)[None].double()
    weight, bias = torch.from_numpy(layer.weight).double(), torch.from_numpy(layer.bias).double()
    if layer.transposed:
        sums = torch.nn.functional.conv_transpose2d(
            x, weight, bias, layer.stride, layer.padding, layer.output_padding
        )
    else:
        sums = torch.nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding)
    return torch.floor(sums / 2**layer.shift).clamp(layer.low, layer.high)[0].numpy().astype(np.int32)


@given(
    seed=st.integers(0, 2**32 - 1),
    transposed=st.booleans(),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2]),
    height=st.integers(3, 8),
    width=st.integers(3, 8),
)
@settings(max_examples=150)
def test_layers_equal_torch(
    seed: int, transposed: bool, kernel: int, stride: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = make_layer(rng, transposed, kernel, stride, padding=kernel // 2, out=4)
    a = rng.integers(-127, 128, (3, height, width)).astype(np.int32)
    expected = by_torch(layer, a)
    assert layer(a).dtype == np.int32
    assert np.array_equal(layer(a), expected)


@given(seed=st.integers(0, 2**32 - 1), transposed=st.booleans())
@settings(max_examples=60)
def test_leaky_layers_with_a_shift_a_channel_equal_torch(seed: int, transposed: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    shift = rng.integers(0, 12, 4).astype(np.int32)
    layer = replace(make_layer(rng, transposed, 3, 2, 1, out=4), shift=shift, leaky=True)
    a = rng.integers(-127, 128, (3, 5, 6)).astype(np.int32)
    plain = replace(layer, shift=0, leaky=False, low=-(1 << 30), high=1 << 30)
    sums = torch.from_numpy(by_torch(plain, a)).double()
    unit = torch.exp2(-torch.from_numpy(shift).double())[:, None, None]
    floored = torch.where(sums < 0, torch.floor(sums * unit * 5 / 512), torch.floor(sums * unit))
    assert np.array_equal(layer(a), floored.clamp(-127, 127).numpy().astype(np.int32))


def test_a_leak_is_that_of_a_leaky_relu() -> None:
    layer = Layer(np.full((1, 1, 1, 1), 127, np.int32), np.zeros(1, np.int32), False, 1, 0, 0, 0, -127, 127)
    leaky = replace(layer, leaky=True)
    assert leaky(np.array([[[-80]]], np.int32)).item() == pytest.approx(-80 * 127 * 0.01, abs=3)


def looked_up(rng: np.random.Generator) -> IntegerNetwork:
    """Leaky, then a layer with a shift a row, then scales looked up: as an imported h_s has it."""
    first = replace(make_layer(rng, True, 5, 2, 1, out=3), output_padding=0, leaky=True)
    shift = rng.integers(2, 9, 6).astype(np.int32)
    last = replace(make_layer(rng, False, 3, 1, 0, out=6), shift=shift, low=-(1 << 20), high=1 << 20)
    return IntegerNetwork((first, last), np.sort(rng.integers(0, 64, 200)).astype(np.int32))


def test_scales_are_looked_up_and_means_are_not() -> None:
    network = looked_up(np.random.default_rng(2))
    assert network.rungs is not None
    z = np.random.default_rng(3).integers(-20, 21, (3, 4, 4)).astype(np.int32)
    sums = IntegerNetwork(network.layers)(z)
    out = network(z)
    assert np.array_equal(out[3:], sums[3:])
    assert np.array_equal(out[:3], network.rungs[np.clip(sums[:3], 0, 199)])
    assert (sums[:3] < 0).any() and (sums[:3] > 199).any()


def test_looked_up_networks_survive_arrays_and_engines(tmp_path: Path) -> None:
    network = looked_up(np.random.default_rng(4))
    again = IntegerNetwork.from_arrays(network.to_arrays())
    write_integer_network(network, (3, 4, 4), tmp_path / "h_s.onnx")  # which compares it on random inputs
    z = np.random.default_rng(5).integers(-127, 128, (3, 4, 4)).astype(np.int32)
    assert np.array_equal(network(z), again(z))


def test_shifts_and_rungs_that_cannot_be_are_refused() -> None:
    network = looked_up(np.random.default_rng(6))
    first, last = network.layers
    with pytest.raises(BundleError, match="5 shifts for 6 channels"):
        IntegerNetwork((first, replace(last, shift=np.ones(5, np.int32))))
    with pytest.raises(BundleError, match=r"0 \.\. 20"):
        IntegerNetwork((first, replace(last, shift=np.full(6, -1, np.int32))))
    with pytest.raises(BundleError, match="rungs"):
        IntegerNetwork(network.layers, np.zeros(1, np.int32))


def test_floor_goes_down_for_negative_sums() -> None:
    layer = Layer(np.full((1, 1, 1, 1), 1, np.int32), np.zeros(1, np.int32), False, 1, 0, 0, 2, -127, 127)
    a = np.array([[[-5, -4, -1, 0, 3, 4]]], dtype=np.int32)
    assert layer(a).tolist() == [[[-2, -1, -1, 0, 0, 1]]]


def test_largest_sum_is_reached_and_never_exceeded() -> None:
    rng = np.random.default_rng(0)
    layer = make_layer(rng, False, 3, 1, 1, out=1)
    worst = (127 * np.sign(layer.weight[0])).astype(np.int64)
    sums = (layer.weight[0].astype(np.int64) * worst).sum() + layer.bias[0]
    assert max(abs(sums), abs(-sums + 2 * layer.bias[0])) == layer.largest_sum()


def test_arrays_round_trip() -> None:
    rng = np.random.default_rng(1)
    network = IntegerNetwork((make_layer(rng, True, 3, 2, 1, out=3), make_layer(rng, False, 1, 1, 0, out=5)))
    again = IntegerNetwork.from_arrays(network.to_arrays())
    z = rng.integers(-127, 128, (3, 4, 4)).astype(np.int32)
    assert np.array_equal(network(z), again(z))


def test_overflowing_networks_are_refused() -> None:
    weight = np.full((1, 80, 1, 1), 127, dtype=np.int32)
    layer = Layer(weight, np.zeros(1, np.int32), False, 1, 0, 0, 0, -127, 127)
    assert layer.largest_sum() >= ACCUMULATOR_LIMIT
    with pytest.raises(BundleError, match="below 2\\*\\*20"):
        IntegerNetwork((layer,))
    with pytest.raises(BundleError, match="larger than 127"):
        IntegerNetwork((Layer(weight[:, :1] + 1, np.zeros(1, np.int32), False, 1, 0, 0, 0, -127, 127),))


def test_missing_arrays_are_a_bundle_error() -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        IntegerNetwork.from_arrays({"h_s.0.weight": np.zeros((1, 1, 1, 1), np.int8)})


LEVELS: tuple[Optimisation, ...] = ("disabled", "basic", "extended", "all")
MSHP = [name for name in installed() if "-mshp-" in name and not name.endswith(ROBUST)]
COUNTS = {name: 2 if number else 20 for number, name in enumerate(MSHP)}
"""Random z of each reach: the rates share one architecture, so the settings are tried on the first."""


@pytest.mark.parametrize("name", MSHP)
def test_engine_equals_definition_on_shipped_bundles(name: str) -> None:
    """Random z, small and large, at every number of threads and every level of optimisation."""
    bundle = load(name)
    assert bundle.manifest.hyper is not None
    network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(-reach, reach + 1, bundle.manifest.hyper).astype(np.int32)
        for reach in (1, 4, 20, 127)
        for _ in range(COUNTS[name])
    ]
    expected = [network(z) for z in inputs]
    for threads in (1, 2):
        for level in LEVELS:
            engine = open_engine(bundle.path("h_s"), EngineOptions(threads=threads, optimisation=level))
            for z, right in zip(inputs, expected, strict=True):
                (actual,) = engine.run(z[None].astype(np.float32))
                assert np.array_equal(actual[0].astype(np.int32), right), (threads, level)


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_graph_survives_an_engine_that_is_exact_only_to_a_half(
    transposed: bool, leaky: bool, tmp_path: Path
) -> None:
    """Sums that are off by less than 0.5, as Winograd's may be, change nothing: add such an error."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(3)
    shift = rng.integers(0, 9, 4).astype(np.int32)
    layer = replace(make_layer(rng, transposed, 3, 2, 1, out=4), shift=shift, leaky=leaky)
    write_integer_network(IntegerNetwork((layer,)), (3, 5, 5), tmp_path / "h_s.onnx")
    model = onnx.load(tmp_path / "h_s.onnx")
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    output = convolution.output[0]
    convolution.output[0] = "sums"
    unit = np.ones(4) if leaky else np.exp2(-shift)  # of a sum, in what the convolution returns
    unit = repeat_for_phases(unit, layer.stride) if transposed else unit
    error = (rng.choice([-0.49, 0.49], unit.shape) * unit)[None, :, None, None].astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(error, "error"))
    place = list(model.graph.node).index(convolution) + 1
    model.graph.node.insert(place, helper.make_node("Add", ["sums", "error"], [output]))
    (tmp_path / "inexact.onnx").write_bytes(model.SerializeToString())
    engine = open_engine(tmp_path / "inexact.onnx", EngineOptions(threads=1))
    for _ in range(200):
        z = rng.integers(-127, 128, (3, 5, 5)).astype(np.int32)
        assert np.array_equal(engine.run(z[None].astype(np.float32))[0][0].astype(np.int32), layer(z))


@pytest.mark.parametrize("channels", [16, 24, 35])
def test_channels_beyond_a_block_give_the_sums_of_torch(channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-20, 21, (5, channels, 3, 3)).astype(np.int32)
    bias = rng.integers(-5000, 5000, 5).astype(np.int32)
    network = IntegerNetwork((Layer(weight, bias, False, 1, 1, 0, 6, -2047, 2047),))
    write_integer_network(network, (channels, 6, 5), tmp_path / "h_s.onnx")
    engine = open_engine(tmp_path / "h_s.onnx", EngineOptions(threads=1))
    for reach in (1, 20, 127):
        z = rng.integers(-reach, reach + 1, (channels, 6, 5)).astype(np.int32)
        right = by_torch(network.layers[0], z)
        assert np.array_equal(engine.run(z[None].astype(np.float32))[0][0].astype(np.int32), right)
        assert len(np.unique(right)) > 20


@given(
    seed=st.integers(0, 2**32 - 1), kernel=st.integers(1, 5), stride=st.integers(1, 3),
    padding=st.integers(0, 2), rows=st.integers(3, 6), columns=st.integers(3, 6), channels=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=60)
def test_phases_are_the_transposed_convolution(
    seed: int, kernel: int, stride: int, padding: int, rows: int, columns: int, channels: int
) -> None:
    """Their convolution, its outputs taken in turns and cropped; by torch, in float64."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    layer = replace(
        make_layer(rng, True, kernel, stride, min(padding, kernel - 1), out=channels),
        output_padding=int(rng.integers(0, stride)), shift=0, low=-(1 << 20), high=1 << 20,
    )  # fmt: skip
    layer = replace(layer, bias=np.zeros_like(layer.bias))
    a = rng.integers(-127, 128, (3, rows, columns)).astype(np.int32)
    made = polyphase(layer)
    padded = np.pad(a, ((0, 0), (made.before, made.after), (made.before, made.after)))
    sums = torch.nn.functional.conv2d(
        torch.from_numpy(padded).double(), torch.from_numpy(made.weight).double()
    )
    height, width = rows + made.growth, columns + made.growth
    of = sums.reshape(stride, channels, stride, height, width).numpy()
    out = np.stack([[of[x, :, y] for x in range(stride)] for y in range(stride)])  # (y, x, channel, h, w)
    out = out.transpose(2, 3, 0, 4, 1).reshape(channels, height * stride, width * stride)
    expected = layer(a)
    assert out.shape[1] >= expected.shape[1] and out.shape[2] >= expected.shape[2]
    assert np.array_equal(out[:, : expected.shape[1], : expected.shape[2]], expected)


def plain_pair() -> tuple[Layer, Layer]:
    """z of 3 channels -> 4 -> 5, transposed, then not."""
    rng = np.random.default_rng(12)
    first = replace(make_layer(rng, True, 3, 2, 1, out=4), output_padding=1)
    weight = rng.integers(-20, 21, (5, 4, 1, 1)).astype(np.int32)
    return first, Layer(weight, np.zeros(5, np.int32), False, 1, 0, 0, 5, -2047, 2047)


def test_a_network_knows_the_shape_that_it_returns() -> None:
    network = IntegerNetwork(plain_pair())
    z = np.zeros((3, 4, 6), np.int32)
    assert network.shape((3, 4, 6)) == network(z).shape == (5, 8, 12)
    for wrong in ((2, 4, 6), (3, 1 << 12, 1 << 12)):
        with pytest.raises(BundleError, match="layer 0"):
            network.shape(wrong)


@pytest.mark.parametrize(
    ("number", "change", "reason"),
    [
        (0, {"stride": 0}, "stride of 0"),
        (0, {"stride": -1}, "stride of -1"),
        (0, {"stride": 100_000}, "stride of 100000"),
        (0, {"padding": -1}, "padding of -1"),
        (0, {"padding": 50}, "padding of 50"),
        (0, {"output_padding": 2}, "output padding of 2"),
        (0, {"output_padding": -1}, "output padding of -1"),
        (1, {"output_padding": 1}, "output padding of 1"),
        (1, {"low": 1, "high": 0}, "limits are 1 and 0"),
        (1, {"high": (1 << 31) - 1}, "limits"),
        (0, {"weight": np.zeros((3, 4, 2, 3), np.int32)}, "shape"),
        (0, {"weight": np.zeros((3, 4, 17, 17), np.int32)}, "kernel of 17"),
        (0, {"weight": np.zeros((3, 0, 3, 3), np.int32)}, "shape"),
        (0, {"weight": np.full((3, 4, 3, 3), -(1 << 31), np.int32)}, "larger than 127"),
        (0, {"bias": np.zeros(5, np.int32)}, "5 biases for 4"),
        (1, {"weight": np.zeros((5, 3, 1, 1), np.int32)}, "layer 0 returns 4 channels, the next takes 3"),
        (0, {"transposed": False}, "biases for 3"),
    ],
)
def test_geometry_that_no_exporter_writes_is_refused(
    number: int, change: dict[str, Any], reason: str
) -> None:
    layers = list(plain_pair())
    layers[number] = replace(layers[number], **change)
    with pytest.raises(BundleError, match=reason):
        IntegerNetwork(tuple(layers))


def test_numbers_of_layers_and_weights_are_bounded() -> None:
    with pytest.raises(BundleError, match="0 layers"):
        IntegerNetwork(())
    one = Layer(np.ones((1, 1, 1, 1), np.int32), np.zeros(1, np.int32), False, 1, 0, 0, 0, -127, 127)
    with pytest.raises(BundleError, match="17 layers"):
        IntegerNetwork((one,) * 17)
    wide = replace(one, weight=np.zeros((1 << 11, 1 << 11, 1, 1), np.int32), bias=np.zeros(1 << 11, np.int32))
    with pytest.raises(BundleError, match="weights"):
        IntegerNetwork((wide, wide))


@pytest.mark.parametrize("rungs", [[-1, 2], [0, 1 << 16], [[0, 1]]])
def test_rungs_are_tables(rungs: list[int]) -> None:
    network = looked_up(np.random.default_rng(6))
    with pytest.raises(BundleError, match="rungs"):
        IntegerNetwork(network.layers, np.array(rungs, np.int32))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("h_s.0.weight", np.full((3, 4, 3, 3), np.nan)),
        ("h_s.0.weight", np.full((3, 4, 3, 3), 1 << 32, np.int64)),
        ("h_s.0.weight", np.zeros((3, 4, 3), np.int8)),
        ("h_s.0.bias", np.zeros(4, np.float32)),
        ("h_s.0.bias", np.full(4, (1 << 64) - 1, np.uint64)),
        ("h_s.0.geometry", np.zeros(9, np.int32)),
        ("h_s.0.geometry", np.array([2, 2, 1, 1, 5, -127, 127, 0])),
        ("h_s.0.geometry", np.zeros(0, np.int32)),
        ("h_s.0.shift", np.zeros((4, 1), np.int32)),
        ("h_s.rungs", np.zeros(3)),
    ],
)
def test_arrays_that_to_arrays_does_not_make_are_refused(name: str, array: np.ndarray) -> None:
    arrays = IntegerNetwork(plain_pair()).to_arrays()
    IntegerNetwork.from_arrays(arrays)
    with pytest.raises(BundleError, match="cannot be read"):
        IntegerNetwork.from_arrays(arrays | {name: array})


def test_a_graph_that_does_not_compute_its_arrays_is_refused(
    tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundles["mshp"].parent, tmp_path / "b")
    folder = tmp_path / "b" / "tiny-mshp"
    bundle = load(folder)
    network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    assert bundle.manifest.hyper is not None
    last = network.layers[-1]
    bias = last.bias.copy()
    bias[-1] += 1 << 5
    other = IntegerNetwork((*network.layers[:-1], replace(last, bias=bias)))
    write_integer_network(other, bundle.manifest.hyper, folder / "h_s.onnx")
    with pytest.raises(BundleError, match="does not compute what its arrays say"):
        open_prior(load(rewrite(folder, "h_s", folder / "h_s.onnx")), EngineOptions(threads=1))
