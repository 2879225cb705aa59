"""What a graph must be before an engine sees it: one file, no loops, the shapes that were promised.

Engines read external data (weights in other files, which no manifest names), run code of other domains, and
reserve memory for what a size says. These are refused here, whatever an engine would do with them.

Numbers of fields are those of onnx.proto. A message in several fields is one message, as protobuf has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.engines.graph import OnnxGraph, Shapes
from runtime.engines.wire import Reader, integers, text
from runtime.errors import EngineError

FLOAT = 1
"""TensorProto.DataType."""

DOMAINS = ("", "ai.onnx")
GEOMETRY = ("pads", "strides", "kernel_shape", "dilations", "output_padding", "output_shape")
MOST_GEOMETRY = 1 << 12
"""Largest number in an attribute of ``GEOMETRY``: the side of the largest input."""

ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""TensorProto.DataType -> bytes of a value; others are smaller than a byte, or of no fixed size."""


@dataclass
class _Seen:
    """What was found in a graph: constants' names, and name, type and shape of each input and output."""

    nodes: int = 0
    constants: set[str] = field(default_factory=set)
    inputs: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)
    outputs: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)


def check_graph(graph: OnnxGraph) -> None:
    """Raise EngineError for a file that no engine should open; the message says what is wrong with it."""
    if graph.model[4:8] == b"ORTM":
        raise EngineError("it is in ONNX Runtime's own format, not ONNX")
    reader, seen = Reader(), _Seen()
    for number, value in reader.fields(memoryview(graph.model)):
        if number in (20, 25):
            raise EngineError("it has functions or a training graph: export it again, with them inlined")
        if number == 7 and isinstance(value, memoryview):
            _check_body(reader, value, seen, len(graph.model))
    if not seen.nodes:
        raise EngineError("not an ONNX file: it has no nodes")
    if graph.interface is not None:
        inputs = [value for value in seen.inputs if value[0] not in seen.constants]
        _check_values("takes", inputs, graph.interface.inputs)
        _check_values("returns", seen.outputs, graph.interface.outputs)


def _check_body(reader: Reader, graph: memoryview, seen: _Seen, file_bytes: int) -> None:
    for number, value in reader.fields(graph):
        if isinstance(value, int):
            continue
        if number == 1:
            seen.nodes += 1
            _check_node(reader, value, file_bytes)
        elif number == 5:
            seen.constants.add(_check_tensor(reader, value, file_bytes))
        elif number == 15:
            _check_sparse(reader, value, file_bytes)
        elif number == 11:
            seen.inputs.append(_value(reader, value))
        elif number == 12:
            seen.outputs.append(_value(reader, value))


def _check_node(reader: Reader, node: memoryview, file_bytes: int) -> None:
    attributes, kind, domain = [], "", ""
    for number, value in reader.fields(node):
        if number == 5 and isinstance(value, memoryview):
            attributes.append(value)
        elif number == 4:
            kind = text(value)
        elif number == 7:
            domain = text(value)
    if domain not in DOMAINS:
        raise EngineError(f"its {_short(kind)} is of the domain {_short(domain)}, not ONNX's own")
    for attribute in attributes:
        _check_attribute(reader, attribute, kind, file_bytes)


def _check_attribute(reader: Reader, attribute: memoryview, kind: str, file_bytes: int) -> None:
    name, numbers = "", []
    for number, value in reader.fields(attribute):
        if number == 1:
            name = text(value)
        elif number == 8:
            numbers += integers(value)
        elif number in (6, 11):
            raise EngineError(f"its {_short(kind)} has a graph inside, whose runs have no bound")
        elif number in (5, 10) and isinstance(value, memoryview):
            _check_tensor(reader, value, file_bytes)
        elif number in (22, 23) and isinstance(value, memoryview):
            _check_sparse(reader, value, file_bytes)
    if name in GEOMETRY and any(abs(size) > MOST_GEOMETRY for size in numbers):
        raise EngineError(f"{name} of its {_short(kind)} are beyond {MOST_GEOMETRY}")


def _check_sparse(reader: Reader, sparse: memoryview, file_bytes: int) -> None:
    """values = 1, indices = 2, dims = 3: no bundle needs a constant that may be large and empty."""
    for number, value in reader.fields(sparse):
        if number in (1, 2) and isinstance(value, memoryview):
            _check_tensor(reader, value, file_bytes)
        elif number == 3:
            _check_shape("a sparse constant", integers(value), file_bytes)


def _check_tensor(reader: Reader, tensor: memoryview, file_bytes: int) -> str:
    """Returns the name of a constant that is all here."""
    name, kind, raw = "", 0, None
    shape: list[int] = []
    external = False
    for number, value in reader.fields(tensor):
        if number == 1:
            shape += integers(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = text(value)
        elif number == 9 and isinstance(value, memoryview):
            raw = len(value)
        elif number == 13 or (number == 14 and value):
            external = True
    if external:
        raise EngineError(
            f"its constant {_short(name)} has external data: save the graph as one file "
            "(onnx.save_model with save_as_external_data=False)"
        )
    values, size = _check_shape(_short(name), shape, file_bytes), ITEM_BYTES.get(kind)
    if raw and size is not None and values * size != raw:
        raise EngineError(f"its constant {_short(name)} has {raw} bytes for {values} values")
    return name


def _check_shape(name: str, shape: list[int], file_bytes: int) -> int:
    values = math.prod(shape[:16])
    if len(shape) > 16 or any(side < 0 for side in shape) or values > 2 * file_bytes:  # 4 bits a value
        raise EngineError(f"its constant {name} has the impossible shape {shape[:8]}")
    return values


def _value(reader: Reader, value: memoryview) -> tuple[str, int, tuple[int, ...]]:
    """Name, type and shape of an input or output; a size is 0 where it is open."""
    name, kind, shape = "", 0, []
    for number, part in reader.fields(value):
        if number == 1:
            name = text(part)
        elif number == 2 and isinstance(part, memoryview):
            for tensor in reader.messages(part, 1):
                for inner, content in reader.fields(tensor):
                    if inner == 1 and isinstance(content, int):
                        kind = content
                    elif inner == 2 and isinstance(content, memoryview):
                        shape += list(_sizes(reader, content))
    return name, kind, tuple(shape)


def _sizes(reader: Reader, shape: memoryview) -> Iterator[int]:
    for dimension in reader.messages(shape, 1):
        found = [integers(v)[0] for n, v in reader.fields(dimension) if n == 1 and isinstance(v, int)]
        yield found[-1] if found else 0


def _check_values(verb: str, values: list[tuple[str, int, tuple[int, ...]]], wanted: Shapes) -> None:
    """That inputs or outputs are float32 of these shapes; an open first dimension is that of one frame."""
    found = tuple(_one_frame(shape) for _, _, shape in values)
    if found != wanted or any(kind != FLOAT for _, kind, _ in values):
        raise EngineError(f"it {verb} {list(found)[:4]}, the manifest says float32 of {list(wanted)}")


def _one_frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] or 1, *shape[1:]) if shape else shape


def _short(name: str) -> str:
    return ascii(name[:40])
