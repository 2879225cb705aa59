"""A graph of one frame, as a graph of any number of frames: what is static is its first dimension only.

Weights are where nearly all bytes of a graph are, and they do not depend on the batch. So there is no second
file: the bundle's own graph is rewritten in memory when a server opens it.

Whether a graph means the same for many frames cannot be seen from here (it may mix them in the middle).
``runtime.serving.networks`` compares the rewritten graph with the original before it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.engines.onnx_file import INT64, parse
from runtime.errors import EngineError

BATCH = "batch"


def any_batch(model: bytes) -> bytes:
    """The ONNX file whose inputs and outputs begin with the dimension ``batch`` instead of 1.

    A Reshape to a constant shape that begins with 1 keeps its input's first dimension instead. Raises
    EngineError for what is no ONNX file, or has an input or output that does not begin with 1.
    """
    parsed = parse(model)
    graph = parsed.graph
    if not graph.input or not graph.output:
        raise EngineError("not an ONNX file: it has no inputs or no outputs")
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape.dim
        if not shape or shape[0].dim_value != 1:
            raise EngineError("an input or output does not begin with a batch of 1")
        shape[0].ClearField("dim_value")
        shape[0].dim_param = BATCH
    del graph.value_info[:]  # shapes in the middle, which are inferred anew
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            _keep_first(graph, node, _whole_numbers(constants[node.input[1]]))
    rewritten: bytes = parsed.SerializeToString()
    return rewritten


def _whole_numbers(constant: Any) -> list[int]:
    if constant.raw_data:
        return [int(value) for value in np.frombuffer(constant.raw_data, "<i8")]
    return list(constant.int64_data)


def _keep_first(graph: Any, node: Any, shape: list[int]) -> None:
    """Let a Reshape to (1, ...) keep its input's first dimension: 0 says so, unless ``allowzero`` is set.

    The constant gets a twin of its own, as others may use it too.
    """
    if shape[:1] != [1] or 0 in shape:
        return
    name = f"{node.input[1]}/{BATCH}"
    graph.initializer.add(name=name, data_type=INT64, dims=[len(shape)], int64_data=[0, *shape[1:]])
    node.input[1] = name
    kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(kept)
