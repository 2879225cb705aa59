"""What a graph must be before an engine sees it: one file, no loops, the shapes that were promised.

Engines read external data (weights in other files, which no manifest names), run code of other domains, and
reserve memory for what a size says. These are refused here, whatever an engine would do with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from runtime.engines.graph import OnnxGraph, Shapes
from runtime.engines.onnx_file import FLOAT, parse, shape_of
from runtime.errors import EngineError

DOMAINS = ("", "ai.onnx")
GEOMETRY = ("pads", "strides", "kernel_shape", "dilations", "output_padding", "output_shape")
MOST_GEOMETRY = 1 << 12
"""Largest number in an attribute of ``GEOMETRY``: the side of the largest input."""

ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""TensorProto.DataType -> bytes of a value; others are smaller than a byte, or of no fixed size."""


def check_graph(graph: OnnxGraph) -> None:
    """Raise EngineError for a file that no engine should open; the message says what is wrong with it."""
    if graph.model[4:8] == b"ORTM":
        raise EngineError("it is in ONNX Runtime's own format, not ONNX")
    parsed = parse(graph.model)
    if not parsed.graph.node:
        raise EngineError("not an ONNX file: it has no nodes")
    if parsed.functions or parsed.training_info:
        raise EngineError("it has functions or a training graph: export it again, with them inlined")
    for node in parsed.graph.node:
        _check_node(node)
    for tensor in _tensors(parsed.graph):
        _check_tensor(tensor, len(graph.model))
    if graph.interface is not None:
        constants = {tensor.name for tensor in parsed.graph.initializer}
        inputs = [value for value in parsed.graph.input if value.name not in constants]
        _check_values("takes", inputs, graph.interface.inputs)
        _check_values("returns", parsed.graph.output, graph.interface.outputs)


def _check_node(node: Any) -> None:
    if node.domain not in DOMAINS:
        raise EngineError(
            f"its {_short(node.op_type)} is of the domain {_short(node.domain)}, not ONNX's own"
        )
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            raise EngineError(f"its {_short(node.op_type)} has a graph inside, whose runs have no bound")
        if attribute.name in GEOMETRY and any(abs(size) > MOST_GEOMETRY for size in attribute.ints):
            raise EngineError(f"{attribute.name} of its {_short(node.op_type)} are beyond {MOST_GEOMETRY}")


def _tensors(graph: Any) -> Iterator[Any]:
    """Every constant, wherever it stands."""
    yield from graph.initializer
    sparse = list(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse += attribute.sparse_tensors
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
    for tensor in sparse:
        yield tensor.values
        yield tensor.indices


def _check_tensor(tensor: Any, file_bytes: int) -> None:
    if tensor.external_data or tensor.data_location:
        raise EngineError(
            f"its constant {_short(tensor.name)} has external data: save the graph as one file "
            "(onnx.save_model with save_as_external_data=False)"
        )
    values = math.prod(tensor.dims)
    size = ITEM_BYTES.get(tensor.data_type)
    if any(side < 0 for side in tensor.dims) or values > 2 * file_bytes:  # at least 4 bits a value
        raise EngineError(f"its constant {_short(tensor.name)} has the impossible shape {tensor.dims[:8]}")
    if tensor.raw_data and size is not None and values * size != len(tensor.raw_data):
        raise EngineError(
            f"its constant {_short(tensor.name)} has {len(tensor.raw_data)} bytes for {values} values"
        )


def _check_values(verb: str, values: Any, wanted: Shapes) -> None:
    """That inputs or outputs are float32 of these shapes; an open first dimension is that of one frame."""
    found = tuple(_one_frame(shape_of(value)) for value in values)
    if found != wanted or any(value.type.tensor_type.elem_type != FLOAT for value in values):
        raise EngineError(f"it {verb} {list(found)[:4]}, the manifest says float32 of {list(wanted)}")


def _one_frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] or 1, *shape[1:]) if shape else shape


def _short(text: str) -> str:
    return ascii(text[:40])
