"""The messages of Open Inference Protocol v2 over gRPC, made from their definition when they are imported.

Types that the protocol nests stand at the top level here, and a map is written as the entries it is sent as:
the bytes on the wire are the same.
"""

from __future__ import annotations

from typing import Any

from runtime.engines.protobuf import compile_messages

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

MESSAGES: dict[str, Any] = compile_messages(DEFINITION, PACKAGE)
