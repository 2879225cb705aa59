"""Open Inference Protocol v2 over gRPC: its messages, parsed requests, answers, and the methods.

The handlers take the messages themselves (``context.read``), so that those in reception have a total: every
method is registered as one of a stream of requests, of which the first is read. On the wire it is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import metadata as packages
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from runtime.dashboard.hosts import page_from_this_machine
from runtime.engines.protobuf import compile_messages
from runtime.errors import RequestError, ServingError
from runtime.serving.intake.message_bounds import MAX_BYTES, check
from runtime.serving.intake.reception import Reception
from runtime.serving.protocol import (
    ANY_BUNDLE,
    EXTENSIONS,
    FOREIGN,
    INPUT,
    LENGTH_BYTES,
    OUTPUTS,
    PLATFORM,
    TOP_K,
    VERSION,
    Answer,
    Fault,
    Request,
    check_version,
    element,
    fault,
    metadata,
    tensors,
    whole,
)
from runtime.serving.service import Service

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

METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "RepositoryIndex",
    "ModelInfer",
)  # fmt: skip

MESSAGES: dict[str, Any] = compile_messages(DEFINITION, PACKAGE)
"""Classes of the messages, by name. ``uint_contents``, packed uint32, stays as it is on the wire: bytes."""

UINT_BYTES_PER_OCTET = 2
"""Most bytes of an octet of a UINT8 tensor in ``contents``: a varint."""

RECEPTION_BYTES = 16 << 20
"""Most bytes of messages in reception. gRPC does not say what has come; each counts as the largest."""

HEALTH = "grpc.health.v1.Health"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""``HealthCheckResponse``: its one field, status."""

Context = Any  # grpc.aio.ServicerContext
Method = Callable[[Any, Context], Awaitable[Any]]


class GrpcFront:
    """The methods of one service, with the protocol's names.

    local: the listener is on loopback: requests that come from pages of other hosts are refused.
    """

    def __init__(self, service: Service, local: bool = False):
        self._service, self._local = service, local
        self.most = MAX_BYTES + UINT_BYTES_PER_OCTET * service.models.max_packet
        self._reception = Reception(max(RECEPTION_BYTES, 2 * self.most))

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The handlers for a gRPC server."""
        methods = {
            name: grpc.stream_unary_rpc_method_handler(
                self._receiving(getattr(self, name), None if name == "ModelInfer" else f"{name}Request"),
                response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
            )
            for name in METHODS
        }
        health = {"Check": grpc.stream_unary_rpc_method_handler(self._receiving(self._health, None))}
        return (
            grpc.method_handlers_generic_handler(SERVICE, methods),
            grpc.method_handlers_generic_handler(HEALTH, health),
        )

    def _receiving(self, method: Method, name: str | None) -> Method:
        """A method that receives its message first, and parses it where ``name`` says as what."""

        async def receive(_: Any, context: Context) -> Any:
            async def read() -> bytes:
                message = await context.read()
                return message if isinstance(message, bytes) else b""

            await self._guard(context)
            try:
                message = await self._reception.receive(read, self.most, self._service.options.timeout)
                if name is not None:
                    check(message, {})
                    return await method(_message(name, message), context)
            except ServingError as error:
                await _abort(context, self._service.failed(error, "grpc"))
            return await method(message, context)

        return receive

    async def _guard(self, context: Context) -> None:
        """Refuse a foreign page, as ``HttpFront`` does."""
        if not self._local:
            return
        origins = [value for name, value in context.invocation_metadata() if name == "origin"]
        if not all(map(page_from_this_machine, origins)):
            self._service.metrics.error("grpc", "ForeignHost")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, FOREIGN)

    async def ServerLive(self, request: Any, context: Context) -> Any:
        """Whether the process answers."""
        return MESSAGES["ServerLiveResponse"](live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:
        """Whether the server takes requests; False while it drains."""
        return MESSAGES["ServerReadyResponse"](ready=self._service.ready)

    async def ModelReady(self, request: Any, context: Context) -> Any:
        """Whether the server takes requests for a model."""
        known = request.name in self._service.models.names() and request.version in ("", VERSION)
        ready = self._service.ready and known
        return MESSAGES["ModelReadyResponse"](ready=ready)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:
        """Name, version and extensions of the server."""
        about = {"name": ANY_BUNDLE, "version": packages.version("ratehold"), "extensions": EXTENSIONS}
        return MESSAGES["ServerMetadataResponse"](**about)

    async def ModelMetadata(self, request: Any, context: Context) -> Any:
        """Inputs and outputs of one model."""
        try:
            check_version(request.version)
            tensors = metadata(self._service.models.classes(request.name))
        except Exception as error:
            await _abort(context, fault(error))
        about = {"name": request.name, "versions": [VERSION], "platform": PLATFORM}
        return MESSAGES["ModelMetadataResponse"](**about, **tensors)

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:
        """The models by name, and whether they take requests."""
        models = [model for model in self._service.index() if model["state"] == "READY" or not request.ready]
        return MESSAGES["RepositoryIndexResponse"](models=models)

    async def _health(self, data: bytes, context: Context) -> bytes:
        """``grpc.health.v1.Health/Check`` of any service name."""
        return SERVING if self._service.ready else NOT_SERVING

    async def ModelInfer(self, data: bytes, context: Context) -> Any:
        """Decode one packet. data: a serialized ModelInferRequest; a damaged one counts as an error."""
        self._service.metrics.request("grpc")
        identity = ""
        try:
            request = parse_message(data)
            identity = request.identity
            answer = await self._service.infer(request, "grpc")
        except Exception as error:
            await _abort(context, self._service.failed(error, "grpc", identity))
        return _response(answer, request)


def parse_message(data: bytes) -> Request:
    """Parse a serialized ModelInferRequest. Raises RequestError or UnknownModel."""
    check(data)
    message = _message("ModelInferRequest", data)
    check_version(message.model_version)
    if len(message.inputs) != 1 or message.inputs[0].name != INPUT:
        raise RequestError(f"exactly one input, with the name {INPUT!r}")
    parameters = {entry.key: entry.value for entry in message.parameters}
    top_k = _number(parameters["top_k"]) if "top_k" in parameters else TOP_K
    outputs = tuple(output.name for output in message.outputs)
    return Request(message.model_name, message.id, _packet(message), whole(top_k, "top_k"), outputs)


def _number(parameter: Any) -> float | int | str:
    """A parameter's number, 0 where it has none; text is no number."""
    number: float | int = parameter.int64_param or parameter.uint64_param or parameter.double_param
    return parameter.string_param or number


def _message(name: str, data: bytes) -> Any:
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


def _response(answer: Answer, request: Request) -> Any:
    found = tensors(answer, request)
    outputs = [{"name": n, "datatype": OUTPUTS[n], "shape": list(t.shape)} for n, t in found.items()]
    return MESSAGES["ModelInferResponse"](
        model_name=request.model, model_version=VERSION, id=request.identity, outputs=outputs,
        raw_output_contents=[tensor.tobytes() for tensor in found.values()],
    )  # fmt: skip


async def _abort(context: Context, told: Fault) -> None:
    """End the call with a status: this raises."""
    later = () if told.retry_after is None else (("retry-after", str(told.retry_after)),)
    await context.abort(grpc.StatusCode[told.grpc], told.text, later)
