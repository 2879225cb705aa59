"""A graph of one frame as a graph of many: against onnx, and against the frames one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.graphs.onnx_file import OPSET
from runtime.bundle import DEFAULT, load
from runtime.errors import EngineError
from runtime.serving.networks import BATCH, any_batch

FLOAT = onnx.TensorProto.FLOAT


def model(nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, list[int]]) -> onnx.ModelProto:
    """x (1, 3, 4) -> y of that shape."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, 4])],
        [helper.make_tensor_value_info("y", FLOAT, shape)],
        [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in constants.items()],
        value_info=[helper.make_tensor_value_info("middle", FLOAT, [1, 12])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def first(values: list[onnx.ValueInfoProto]) -> list[str]:
    return [value.type.tensor_type.shape.dim[0].dim_param for value in values]


@pytest.mark.parametrize("role", ["restore", "tail"])
def test_only_the_first_dimension_changes(role: str) -> None:
    path = load(DEFAULT).path(role)
    before, after = onnx.load(path), onnx.load_from_string(any_batch(path.read_bytes()))
    onnx.checker.check_model(after, full_check=True)
    assert first(list(after.graph.input)) == first(list(after.graph.output)) == [BATCH]
    weights = {constant.name: constant for constant in after.graph.initializer}
    assert all(constant == weights[constant.name] for constant in before.graph.initializer)
    changed = [(a, b) for a, b in zip(before.graph.node, after.graph.node, strict=True) if a != b]
    assert [a.op_type for a, _ in changed] == ["Reshape"] * (role == "tail")
    for value in (*after.graph.input, *after.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    for value in (*before.graph.input, *before.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    assert list(before.graph.input) == list(after.graph.input)
    assert before.opset_import == after.opset_import and before.ir_version == after.ir_version


@pytest.mark.parametrize("allowzero", [0, 1])
def test_reshapes_keep_the_frames_apart(allowzero: int) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["middle"], allowzero=allowzero),
        helper.make_node("Expand", ["middle", "flat_as_well"], ["expanded"]),
        helper.make_node("Reshape", ["expanded", "square"], ["y"], allowzero=allowzero),
    ]
    constants = {"flat": [1, -1], "flat_as_well": [1, 12], "square": [1, 2, 6]}
    session = onnxruntime.InferenceSession(
        any_batch(model(nodes, [1, 2, 6], constants).SerializeToString()), providers=["CPUExecutionProvider"]
    )
    frames = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    (found,) = session.run(None, {"x": frames})
    np.testing.assert_array_equal(found, frames.reshape(5, 2, 6))


def test_reshapes_that_share_a_constant_still_do() -> None:
    nodes = [
        helper.make_node("Reshape", names, [to])
        for *names, to in (["x", "flat", "middle"], ["middle", "flat", "y"])
    ]
    after = onnx.load_from_string(any_batch(model(nodes, [1, 12], {"flat": [1, -1]}).SerializeToString()))
    onnx.checker.check_model(after, full_check=True)
    assert len({node.input[1] for node in after.graph.node}) == 1


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"no model at all"])
def test_what_is_no_graph_is_said(content: bytes) -> None:
    with pytest.raises(EngineError, match="not an ONNX file"):
        any_batch(content)


def test_a_graph_without_a_batch_is_said() -> None:
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["y"])]
    with pytest.raises(EngineError, match="does not begin with a batch of 1"):
        any_batch(model(nodes, [12], {"flat": [-1]}).SerializeToString())


def test_bundles_are_not_written_to(tiny_bundles: dict[str, Path]) -> None:
    path = load(tiny_bundles["fp"]).path("tail")
    before = path.read_bytes()
    any_batch(before)
    assert path.read_bytes() == before
