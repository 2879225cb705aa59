"""The stem of a head without ONNX Runtime, against ONNX Runtime; and what is left to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from native_denoise.vectors.simd import LANES
from runtime.engines import EngineOptions, open_engine
from runtime.engines.onnxruntime_cpu import OnnxRuntimeCpu, open_model
from runtime.engines.stem.engine import Stemmed
from runtime.engines.stem.find import find_stem
from runtime.engines.stem.gdn import BLOCK
from runtime.errors import EngineError

PLAIN = EngineOptions(threads=1, optimisation="disabled")


SIDE = 8 * LANES
"""Of the smallest image that the kernels take."""


def level(number: int, given: str, inputs: int, channels: int, rng: np.random.Generator) -> tuple[list, dict]:
    """Nodes and tensors of a convolution and its GDN."""
    x, size, norm = (f"{name}{number}" for name in ("x", "size", "norm"))
    tensors = {
        f"weights{number}": rng.normal(0, 0.2, (channels, inputs, 5, 5)),
        f"gamma{number}": rng.random((channels, channels, 1, 1)) / channels,
        f"beta{number}": rng.random(channels) + 0.5,
    }
    weights, *rest = tensors
    nodes = [
        helper.make_node("Conv", [given, weights], [x], strides=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("Abs", [x], [size]),
        helper.make_node("Conv", [size, *rest], [norm], kernel_shape=[1, 1], auto_pad="NOTSET"),
        helper.make_node("Div", [x, norm], [f"quotient{number}"]),
    ]
    return nodes, tensors


def head(
    side: int = SIDE, channels: tuple[int, int] = (BLOCK, BLOCK), planes: int = 3, seed: int = 0
) -> onnx.ModelProto:
    """Image -> the quotient's first two channels, doubled: a stem as of the paper's heads, and a rest."""
    rng = np.random.default_rng(seed)
    first, of_first = level(1, "centred", planes, channels[0], rng)
    second, of_second = level(2, "quotient1", channels[0], channels[1], rng)
    double = np.full((2, channels[1], 1, 1), 2.0) * np.eye(2, channels[1])[..., None, None]
    tensors = {"mean": rng.random((1, planes, 1, 1)), "double": double, **of_first, **of_second}
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["centred"]), *first, *second,
        helper.make_node("Conv", ["quotient2", "double"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "head",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, planes, side, side))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, side // 4, side // 4))],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in tensors.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def image(side: int, planes: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, planes, side, side), dtype=np.float32)


def opened(model: onnx.ModelProto, folder: Path, threads: int = 1) -> Stemmed | OnnxRuntimeCpu:
    (folder / "head.onnx").write_bytes(model.SerializeToString())
    engine = open_engine(folder / "head.onnx", EngineOptions(threads=threads))
    assert isinstance(engine, Stemmed | OnnxRuntimeCpu)
    return engine


@given(
    columns=st.integers(4, 7), channels=st.tuples(st.integers(1, 3 * BLOCK), st.integers(2, 2 * BLOCK)),
    planes=st.integers(1, 4), threads=st.integers(1, 5), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=20)
def test_it_computes_what_onnx_runtime_does(
    columns: int, channels: tuple[int, int], planes: int, threads: int, seed: int
) -> None:
    side = 2 * LANES * columns
    model = head(side, channels, planes, seed).SerializeToString()
    stem = find_stem(model)
    assert stem is not None
    engine = Stemmed(stem, open_model(stem.rest, "rest", PLAIN), threads)
    reference = open_model(model, "whole", PLAIN)
    assert engine.inputs == reference.inputs and engine.outputs == reference.outputs
    for number in range(2):  # buffers are used again
        given_ = image(side, planes, seed + number)
        (expected,), (found,) = reference.run(given_), engine.run(given_)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_engine_is_used_and_threads_do_not_change_a_bit(tmp_path: Path, threads: int) -> None:
    alone, together = opened(head(), tmp_path), opened(head(), tmp_path, threads)
    assert isinstance(alone, Stemmed) and isinstance(together, Stemmed)
    alone.warm_up()
    np.testing.assert_array_equal(alone.run(image(SIDE))[0], together.run(image(SIDE))[0])


def test_less_optimisation_leaves_all_to_onnx_runtime(tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    path.write_bytes(head().SerializeToString())
    for level in ("disabled", "basic", "extended"):
        engine = open_engine(path, EngineOptions(threads=1, optimisation=level))  # type: ignore[arg-type]
        assert isinstance(engine, OnnxRuntimeCpu)


def _attribute(node: int, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        given_ = model.graph.node[node].attribute
        kept = [attribute for attribute in given_ if attribute.name != name]
        del given_[:]
        given_.extend([*kept, helper.make_attribute(name, value)])

    return change


def _shown(name: str) -> Callable[[onnx.ModelProto], None]:
    """Something in the middle is an output as well."""
    return lambda model: model.graph.output.append(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    )


def _used(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["x1"], ["also"]))
    _shown("also")(model)


def _swapped(model: onnx.ModelProto) -> None:
    divide = model.graph.node[4]
    divide.input[:] = ["norm1", "x1"]


def _open_side(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "rows"


@pytest.mark.parametrize(
    "change",
    [
        _attribute(1, "pads", [2, 2, 1, 1]), _attribute(1, "strides", [2, 1]),
        _attribute(1, "dilations", [2, 2]), _attribute(3, "strides", [2, 2]),
        _attribute(3, "auto_pad", "VALID"), _attribute(5, "pads", [2, 2, 1, 1]),
        _attribute(7, "strides", [2, 2]), _shown("x1"), _shown("norm1"), _shown("quotient1"), _shown("x2"),
        _shown("quotient2"), _used, _swapped, _open_side,
    ],
)  # fmt: skip
def test_another_graph_is_left_as_it_is(change: Callable[[onnx.ModelProto], None]) -> None:
    model = head()
    change(model)
    assert find_stem(model.SerializeToString()) is None


@pytest.mark.parametrize(
    "model", [head(side=SIDE + 4), head(side=SIDE // 2), helper.make_model(onnx.GraphProto())]
)
def test_sizes_that_the_kernel_does_not_take_are_left(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert find_stem(model.SerializeToString()) is None


def test_an_odd_head_runs_all_the_same(tmp_path: Path) -> None:
    engine = opened(head(side=SIDE + 4), tmp_path)
    assert isinstance(engine, OnnxRuntimeCpu) and engine.run(image(SIDE + 4))[0].shape[2] == SIDE // 4 + 1


def test_wrong_shapes_and_broken_files(tmp_path: Path) -> None:
    engine = opened(head(), tmp_path)
    for wrong in ((2, 3, SIDE, SIDE), (1, 3, SIDE, LANES)):
        with pytest.raises(EngineError, match="takes"):
            engine.run(np.zeros(wrong, dtype=np.float32))
    with pytest.raises(EngineError, match="not an ONNX file"):
        find_stem(b"\xff\xff\xff")
    path = tmp_path / "head.onnx"
    path.write_bytes(path.read_bytes()[:700])  # ends in the middle of the weights
    with pytest.raises(EngineError):
        open_engine(path, EngineOptions(threads=1))
