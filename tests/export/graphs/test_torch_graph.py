"""The differentiable twin of a graph is the graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from export.graphs.torch_graph import TorchGraph
from runtime.bundle import load
from runtime.engines import EngineOptions, open_engine


@pytest.mark.parametrize("role", ["head", "restore", "tail"])
@pytest.mark.parametrize("name", ["efficientnet_lite0-fp-r4", "efficientnet_lite0-mshp-r1"])
def test_shipped_graphs_equal_onnx_runtime(name, role):
    path = load(name).path(role)
    engine = open_engine(path, EngineOptions(threads=1))
    shape = engine.inputs[0][1]
    x = np.random.default_rng(0).random((2, *shape[1:]), dtype=np.float32)
    with torch.no_grad():
        together = TorchGraph(path)(torch.from_numpy(x))
    for number in range(2):
        for ours, theirs in zip(together, engine.run(x[number : number + 1]), strict=True):
            scale = np.abs(theirs).max()
            assert np.abs(ours[number].numpy() - theirs[0]).max() <= 2e-4 * scale


def test_gradients_reach_the_input(tiny_bundles):
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    TorchGraph(load(tiny_bundles["mshp"]).path("head"))(x)[1].square().sum().backward()
    assert x.grad is not None and bool((x.grad != 0).any())


def test_unknown_operators_are_named(tmp_path: Path):
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,))
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1,))
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"])], "g", [value], [out])
    (tmp_path / "g.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(NotImplementedError, match="Erf"):
        TorchGraph(tmp_path / "g.onnx")
