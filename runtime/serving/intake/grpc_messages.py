"""The messages of the Open Inference Protocol over gRPC: definitions, requests from bytes, answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from runtime.engines.protobuf import compile_messages
from runtime.errors import RequestError
from runtime.serving.intake.message_bounds import check
from runtime.serving.protocol import (
    INPUT,
    LENGTH_BYTES,
    VERSION,
    Answer,
    Request,
    check_version,
    datatypes,
    element,
    tensors,
)

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

DEFINITION = """
message ServerLiveRequest {}
message ServerLiveResponse { bool live = 1; }
message ServerReadyRequest {}
message ServerReadyResponse { bool ready = 1; }
message ModelReadyRequest { string name = 1; string version = 2; }
message ModelReadyResponse { bool ready = 1; }
message ServerMetadataRequest {}
message ServerMetadataResponse { string name = 1; string version = 2; repeated string extensions = 3; }
message ModelMetadataRequest { string name = 1; string version = 2; }
message TensorMetadata { string name = 1; string datatype = 2; repeated int64 shape = 3; }
message ModelMetadataResponse {
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
}
message InferParameter {
  bool bool_param = 1;
  int64 int64_param = 2;
  string string_param = 3;
  double double_param = 4;
  uint64 uint64_param = 5;
}
message ParameterEntry { string key = 1; InferParameter value = 2; }
message InferTensorContents { repeated bytes uint_contents = 4; repeated bytes bytes_contents = 8; }
message InferInputTensor {
  string name = 1;
  string datatype = 2;
  repeated int64 shape = 3;
  repeated ParameterEntry parameters = 4;
  InferTensorContents contents = 5;
}
message InferRequestedOutputTensor { string name = 1; repeated ParameterEntry parameters = 2; }
message InferOutputTensor { string name = 1; string datatype = 2; repeated int64 shape = 3; }
message ModelInferRequest {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  repeated ParameterEntry parameters = 4;
  repeated InferInputTensor inputs = 5;
  repeated InferRequestedOutputTensor outputs = 6;
  repeated bytes raw_input_contents = 7;
}
message RepositoryIndexRequest { string repository_name = 1; bool ready = 2; }
message ModelIndex { string name = 1; string version = 2; string state = 3; string reason = 4; }
message RepositoryIndexResponse { repeated ModelIndex models = 1; }
message ModelInferResponse {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  repeated InferOutputTensor outputs = 5;
  repeated bytes raw_output_contents = 6;
}
"""

MESSAGES: dict[str, Any] = compile_messages(DEFINITION, PACKAGE)
"""Classes of the messages, by name. ``uint_contents``, packed uint32, stays as it is on the wire: bytes."""

UINT_BYTES_PER_OCTET = 2
"""Most bytes of an octet of a UINT8 tensor in ``contents``: a varint."""


def parse_message(data: bytes) -> Request:
    """Parse a serialized ModelInferRequest. Raises RequestError or UnknownModel."""
    check(data)
    asked = message("ModelInferRequest", data)
    check_version(asked.model_version)
    if len(asked.inputs) != 1 or asked.inputs[0].name != INPUT:
        raise RequestError(f"exactly one input, with the name {INPUT!r}")
    parameters = {entry.key: _value(entry.value) for entry in asked.parameters}
    outputs = tuple(output.name for output in asked.outputs)
    return Request(asked.model_name, asked.id, _packet(asked), parameters, outputs)


def _value(parameter: Any) -> bool | int | float | str:
    """The value of a parameter: of the field that is set, or 0 where none is."""
    return next((value for _, value in parameter.ListFields()), 0)


def message(name: str, data: bytes) -> Any:
    """Parse a serialized message of that name. Raises RequestError."""
    try:
        return MESSAGES[name].FromString(data)
    except DecodeError as error:
        raise RequestError(f"not a {name}: {error}") from error


def _packet(message: Any) -> bytes:
    (tensor,) = message.inputs
    shape, datatype, contents = list(tensor.shape), tensor.datatype, tensor.contents
    if message.raw_input_contents:
        if len(message.raw_input_contents) != 1 or tensor.HasField("contents"):
            raise RequestError(f"{INPUT}: one tensor, either raw or in contents")
        return element(datatype, shape, message.raw_input_contents[0])
    if datatype == "BYTES" and len(contents.bytes_contents) == 1:
        value = contents.bytes_contents[0]
        return element(datatype, shape, len(value).to_bytes(LENGTH_BYTES, "little") + value)
    if datatype == "UINT8":
        try:
            return element(datatype, shape, b"".join(map(packed_octets, contents.uint_contents)))
        except ValueError as error:
            raise RequestError(f"{INPUT}: UINT8 goes from 0 to 255") from error
    raise RequestError(f"{INPUT}: raw_input_contents, or contents of BYTES [1] or UINT8 [n]")


def packed_octets(wire: bytes) -> bytes:
    """Packed varints of 0 .. 255 -> their octets, without a Python number for each.

    Such a varint is the octet itself, and a 1 behind it from 128 on. Raises ValueError for anything else.
    """
    found = np.frombuffer(wire, np.uint8)
    more = np.concatenate([[False], found >= 0x80])
    behind = more[:-1]
    if more[-1] or (behind & (found != 1)).any():
        raise ValueError("not packed octets")
    octets: bytes = found[~behind].tobytes()
    return octets


def response_message(answer: Answer, request: Request) -> Any:
    """The ModelInferResponse of an answer."""
    found = tensors(answer, request)
    kinds = datatypes(answer.task)
    outputs = [{"name": n, "datatype": kinds[n], "shape": list(t.shape)} for n, t in found.items()]
    return MESSAGES["ModelInferResponse"](
        model_name=request.model, model_version=VERSION, id=request.identity, outputs=outputs,
        raw_output_contents=[tensor.tobytes() for tensor in found.values()],
    )  # fmt: skip
