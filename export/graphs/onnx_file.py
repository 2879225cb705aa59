"""What all graph files share: opset, check, reading, large constants in 16 bits. Without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.atomic import write_whole
from runtime.engines import OnnxGraph
from runtime.engines.graph_check import check_graph

OPSET = 18
HALF_FROM = 1024  # elements: smaller constants stay in float32


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check a model fully and write it."""
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(deterministic=True))


def read_model(source: Path | OnnxGraph) -> onnx.ModelProto:
    """The model in a file, or of a bundle (``Bundle.graph``). Raises EngineError for external data."""
    graph = OnnxGraph.of_file(source) if isinstance(source, Path) else source
    check_graph(graph)
    return onnx.load_model_from_string(graph.model)


def store_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store a large float32 constant as float16, with a Cast behind it, where that loses nothing."""
    casts = []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
