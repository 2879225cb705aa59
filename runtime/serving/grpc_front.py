"""Open Inference Protocol v2 over gRPC: the methods.

The handlers take the messages themselves (``context.read``), so that those in reception have a total: every
method is registered as one of a stream of requests, of which the first is read. On the wire it is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import metadata as packages
from typing import Any

import grpc

from runtime.dashboard.hosts import page_from_this_machine
from runtime.errors import ServingError
from runtime.serving.exchange import over_grpc
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE, UINT_BYTES_PER_OCTET
from runtime.serving.intake.grpc_messages import message as parse
from runtime.serving.intake.message_bounds import MAX_BYTES, check
from runtime.serving.intake.reception import Reception
from runtime.serving.protocol import (
    ANY_BUNDLE,
    EXTENSIONS,
    FOREIGN,
    PLATFORM,
    VERSION,
    Fault,
    check_version,
    fault,
    metadata,
)
from runtime.serving.service import Service

METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "RepositoryIndex",
    "ModelInfer",
)  # fmt: skip

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
                    return await method(parse(name, message), context)
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
            tensors = metadata(self._service.models.tasks(request.name))
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
        try:
            return await over_grpc(self._service, data)
        except Exception as error:
            await _abort(context, fault(error))


async def _abort(context: Context, told: Fault) -> None:
    """End the call with a status: this raises."""
    later = () if told.retry_after is None else (("retry-after", str(told.retry_after)),)
    await context.abort(grpc.StatusCode[told.grpc], told.text, later)
