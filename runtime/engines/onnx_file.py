"""What is read and changed of an ONNX file: the fields named here; protobuf keeps all others as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from runtime.engines.protobuf import compile_messages
from runtime.errors import EngineError

FLOAT, INT64 = 1, 7
"""TensorProto.DataType."""

MESSAGES = compile_messages(
    """
message Dimension { int64 dim_value = 1; string dim_param = 2; }
message Shape { repeated Dimension dim = 1; }
message TensorType { int32 elem_type = 1; Shape shape = 2; }
message Type { TensorType tensor_type = 1; }
message Value { string name = 1; Type type = 2; }
message Tensor {
  repeated int64 dims = 1;
  int32 data_type = 2;
  repeated int64 int64_data = 7;
  string name = 8;
  bytes raw_data = 9;
}
message Attribute { string name = 1; int64 i = 3; bytes s = 4; repeated int64 ints = 8; }
message Node {
  repeated string input = 1;
  repeated string output = 2;
  string op_type = 4;
  repeated Attribute attribute = 5;
}
message Graph {
  repeated Node node = 1;
  repeated Tensor initializer = 5;
  repeated Value input = 11;
  repeated Value output = 12;
  repeated Value value_info = 13;
}
message Model { Graph graph = 7; }
""",
    "onnx_subset",
    syntax="proto2",
)


def parse(model: bytes) -> Any:
    """The Model in an ONNX file. Raises EngineError for what is none."""
    try:
        return MESSAGES["Model"].FromString(model)
    except DecodeError as error:
        raise EngineError(f"not an ONNX file: {error}") from error


def attributes(node: Any) -> dict[str, bytes | int | list[int]]:
    """Texts, whole numbers and lists of them that a node has as attributes."""
    return {given.name: list(given.ints) or given.s or given.i for given in node.attribute}


def floats(tensor: Any) -> NDArray[np.float32] | None:
    """A float32 initializer whose values are there as bytes, as exporters write them; None for others."""
    if tensor.data_type != FLOAT or not tensor.raw_data:
        return None
    return np.frombuffer(tensor.raw_data, "<f4").reshape(list(tensor.dims)).astype(np.float32)


def shape_of(value: Any) -> tuple[int, ...]:
    """Sizes of an input or output; 0 where it is open."""
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
