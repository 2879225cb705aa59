"""The server's networks as one graph for Triton: y_hat -> logits, likeliest classes, their probabilities.

y_hat (1, C, H, W)  -restore->  features  -tail->  logits (1, n)  -Softmax, TopK->  (k,), (k,)

With a free batch all of them keep a first dimension, of any size.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import compose, helper, numpy_helper

from export.errors import GraphError
from export.graphs.onnx_file import read_model
from runtime.bundle import Bundle
from runtime.serving.networks import any_batch

Y_HAT = "y_hat"
LOGITS = "tail/logits"


def server_graph(bundle: Bundle, top_k: int, free_batch: bool = False) -> onnx.ModelProto:
    """Join ``restore`` and ``tail`` of a bundle; returns the outputs of ``runtime.tasks.classification``.

    The outputs are float32 ``logits`` (n,), int32 ``top_classes`` (k,), likeliest first, and float32
    ``top_probabilities`` (k,), k the smaller of ``top_k`` and n. Operators are those that TensorRT has too.
    free_batch: input and outputs begin with a dimension of any size, one entry a frame.
    Raises GraphError when the tail does not take what restore returns, and EngineError where a frame's
    batch cannot be freed.
    """
    restore, tail = (read_model(bundle.graph(role)) for role in ("restore", "tail"))
    for graph in (restore.graph, tail.graph):
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise GraphError(f"{graph.name}: one input and one output were expected")
    (y_hat,), (features,) = restore.graph.input, restore.graph.output
    (taken,), (logits,) = tail.graph.input, tail.graph.output
    try:
        model = compose.merge_models(
            compose.add_prefix(restore, "restore/"), compose.add_prefix(tail, "tail/"),
            [(f"restore/{features.name}", f"tail/{taken.name}")],
        )  # fmt: skip
    except ValueError as error:
        raise GraphError(f"bundle {bundle.manifest.name}: restore and tail: {error}") from error
    model.graph.name = "server"
    _rename(model.graph, {f"restore/{y_hat.name}": Y_HAT, f"tail/{logits.name}": LOGITS})
    shape = (1,) if free_batch else ()
    _add_outputs(model.graph, bundle.task.names, min(top_k, bundle.task.names), shape)
    if free_batch:
        model = onnx.load_from_string(any_batch(model.SerializeToString()))
    onnx.checker.check_model(model, full_check=True)
    return model


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def _add_outputs(graph: onnx.GraphProto, classes: int, k: int, batch: tuple[int, ...]) -> None:
    """Add the outputs, of shapes (*batch, n). TopK runs on a matrix: TensorRT ranks no vectors."""

    def constant(name: str, values: ArrayLike) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype=np.int64), name))
        return name

    shaped = constant("shaped", [*batch, -1])
    graph.node.extend(
        [
            helper.make_node("Reshape", [LOGITS, shaped], ["logits"]),
            helper.make_node("Softmax", [LOGITS], ["shares"], axis=1),
            helper.make_node("TopK", [LOGITS, constant("k", [k])], ["largest", "ranked"], axis=1),
            helper.make_node("GatherElements", ["shares", "ranked"], ["ranked_shares"], axis=1),
            helper.make_node("Cast", ["ranked"], ["ranked_classes"], to=onnx.TensorProto.INT32),
            helper.make_node("Reshape", ["ranked_classes", shaped], ["top_classes"]),
            helper.make_node("Reshape", ["ranked_shares", shaped], ["top_probabilities"]),
        ]
    )
    del graph.output[:]
    for name, kind, size in (
        ("logits", onnx.TensorProto.FLOAT, classes),
        ("top_classes", onnx.TensorProto.INT32, k),
        ("top_probabilities", onnx.TensorProto.FLOAT, k),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, (*batch, size)))
