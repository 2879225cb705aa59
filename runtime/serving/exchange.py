"""A request as bytes -> its answer as bytes, whoever received them: what every serving engine shares.

Our own fronts, KServe's server and Ray's replicas call these; routing, errors and tensors are in one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runtime.errors import RequestError
from runtime.serving.intake.grpc_messages import parse_message, response_message
from runtime.serving.intake.json_request import parsed
from runtime.serving.protocol import check_version, fault
from runtime.serving.service import Service

JSON_LENGTH = "Inference-Header-Content-Length"


async def over_http(
    service: Service, model: str, version: str, json_length: str | None, body: Callable[[], Awaitable[bytes]]
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer to one request for inference. A failure is counted, logged and raised.

    json_length: the header ``JSON_LENGTH``. body: receives the request's body.
    """
    service.metrics.request("http")
    identity = ""
    try:
        check_version(version)
        asked = await parsed(await body(), _whole(json_length), model)
        identity = asked.request.identity
        content, length = asked.response(await service.infer(asked.request, "http"))
    except Exception as error:
        service.failed(error, "http", identity)
        raise
    if length is None:
        return content, {"Content-Type": "application/json"}
    return content, {"Content-Type": "application/octet-stream", JSON_LENGTH: str(length)}


def http_refusal(error: Exception) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, JSON object and headers of the answer to an error."""
    told = fault(error)
    headers = {} if told.retry_after is None else {"Retry-After": str(told.retry_after)}
    return told.http, {"error": told.text}, headers


async def over_grpc(service: Service, data: bytes) -> Any:
    """The ModelInferResponse to a serialized ModelInferRequest. A failure is counted, logged and raised."""
    service.metrics.request("grpc")
    identity = ""
    try:
        request = parse_message(data)
        identity = request.identity
        return response_message(await service.infer(request, "grpc"), request)
    except Exception as error:
        service.failed(error, "grpc", identity)
        raise


def _whole(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(f"{JSON_LENGTH} is a number of bytes, not {text[:32]!r}")
    return int(text)
