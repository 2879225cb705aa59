"""Graphs compute what their modules compute, and store what they can in half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export.errors import GraphError
from export.graphs.torch_to_onnx import compare, round_to_half, write_graph


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.Conv2d(16, 32, 3))


def initializers(path: Path) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def test_large_weights_are_stored_in_half_and_lose_nothing(tmp_path: Path) -> None:
    model, example = module(), torch.rand(1, 3, 16, 16)
    round_to_half(model)
    path = tmp_path / "graph.onnx"
    write_graph(model, example, path, ["image"], ["y"])
    stored = initializers(path)
    assert sorted(str(a.dtype) for a in stored.values() if a.size > 1000) == ["float16", "float16"]
    kernel = next(a for a in stored.values() if a.shape == (32, 16, 3, 3))
    assert np.array_equal(kernel.astype(np.float32), model[2].weight.detach().numpy())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "image" and session.get_outputs()[0].name == "y"
    (y,) = session.run(None, {"image": example.numpy()})
    with torch.no_grad():
        assert np.allclose(y, model(example).numpy(), atol=1e-5)


def test_weights_that_half_cannot_hold_stay_float32(tmp_path: Path) -> None:
    model = module()
    write_graph(model, torch.rand(1, 3, 16, 16), tmp_path / "graph.onnx", ["image"], ["y"])
    assert {str(a.dtype) for a in initializers(tmp_path / "graph.onnx").values() if a.size > 1000} == {
        "float32"
    }


def test_graphs_are_anonymous_single_files_of_opset_18(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    write_graph(module(), torch.rand(1, 3, 16, 16), path, ["image"], ["y"])
    model = onnx.load(path)
    assert {(o.domain, o.version) for o in model.opset_import} >= {("", 18)}
    assert not any(i.data_location == onnx.TensorProto.EXTERNAL for i in model.graph.initializer)
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_a_graph_that_differs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    write_graph(module(), torch.rand(1, 3, 16, 16), path, ["image"], ["y"])
    other = module()
    with torch.no_grad():
        other[2].weight[0] += 0.01  # type: ignore[index]
    with pytest.raises(GraphError, match="differs from the torch module"):
        compare(other, torch.rand(1, 3, 16, 16), path)
