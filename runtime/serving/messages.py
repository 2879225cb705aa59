"""The messages of Open Inference Protocol v2 over gRPC, made from their definition when they are imported.

Generated code belongs to one version of protobuf; these run with any from 4.25 on, and live in a pool of
their own, so that another package's definition of the same protocol may be loaded beside them. Types that the
protocol nests stand at the top level here, and a map is written as the entries it is sent as: the bytes on
the wire are the same.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
message InferParameter { bool bool_param = 1; int64 int64_param = 2; string string_param = 3; }
message ParameterEntry { string key = 1; InferParameter value = 2; }
message InferTensorContents { repeated uint32 uint_contents = 4; repeated bytes bytes_contents = 8; }
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
message ModelInferResponse {
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  repeated InferOutputTensor outputs = 5;
  repeated bytes raw_output_contents = 6;
}
"""

METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_MESSAGE = re.compile(r"message (\w+) \{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_Field = descriptor_pb2.FieldDescriptorProto


def _compile(definition: str) -> dict[str, Any]:
    """Message classes by name, from the part of the proto3 language that is used above."""
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, body in _MESSAGE.findall(definition):
        message = file.message_type.add(name=name)
        for repeated, kind, field, number in _FIELD.findall(body):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=int(number), label=label)
            if kind[0].isupper():
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                added.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in names
    }


MESSAGES: dict[str, Any] = _compile(DEFINITION)
