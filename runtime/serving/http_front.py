"""Open Inference Protocol v2 over HTTP: routes, parsed requests, answers; ``/metrics`` and the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import metadata as packages
from typing import Any

from aiohttp import web

from runtime.errors import RequestError, TooSlow
from runtime.serving.dashboard import ServerView, routes
from runtime.serving.protocol import (
    ANY_BUNDLE,
    EXTENSIONS,
    INPUT,
    OUTPUTS,
    PLATFORM,
    TOP_K,
    VERSION,
    Answer,
    Request,
    check_version,
    element,
    fault,
    metadata,
    tensors,
)
from runtime.serving.service import Service

MAX_JSON = 1 << 16
"""Most bytes of the JSON in front of binary tensors."""


JSON_LENGTH = "Inference-Header-Content-Length"
JSON_BYTES_PER_OCTET = 5
"""Most bytes of an octet of a UINT8 tensor in JSON: ``255, ``."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpFront:
    """The routes of one service, and of its page where it has one. aiohttp runs ``app``."""

    def __init__(self, service: Service, view: ServerView | None = None):
        self._service = service
        self.most = MAX_JSON + JSON_BYTES_PER_OCTET * service.models.max_packet
        self.app = web.Application(client_max_size=self.most, middlewares=[_json_errors])
        self.app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
            ]
        )
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            self.app.add_routes(
                [
                    web.get(model, self._model),
                    web.get(f"{model}/ready", self._model_ready),
                    web.post(f"{model}/infer", self._infer),
                ]
            )
        if view is not None:
            self.app.add_routes(routes(view))

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._service.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def _server(self, _: web.Request) -> web.Response:
        about = {"name": ANY_BUNDLE, "version": packages.version("ratehold"), "extensions": EXTENSIONS}
        return web.json_response(about)

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._service.ready else 503)

    async def _model(self, request: web.Request) -> web.Response:
        name = _model_name(request)
        tensors = metadata(self._service.models.classes(name))
        return web.json_response({"name": name, "versions": [VERSION], "platform": PLATFORM, **tensors})

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._service.models.classes(_model_name(request))
        return await self._ready(request)

    async def _infer(self, request: web.Request) -> web.Response:
        self._service.metrics.request("http")
        identity = ""
        try:
            model = _model_name(request)
            parsed = HttpRequest(await self._body(request), _json_length(request), model)
            identity = parsed.request.identity
            answer = await self._service.infer(parsed.request, "http")
            body, json_length = parsed.response(answer)
        except Exception as error:  # the middleware makes the answer
            self._service.failed(error, "http", identity)
            raise
        kind = "application/json" if json_length is None else "application/octet-stream"
        headers = {"Content-Type": kind} | ({JSON_LENGTH: str(json_length)} if json_length else {})
        return web.Response(body=body, headers=headers)

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, unless it is larger than any request can be."""
        if request.content_length is not None and request.content_length > self.most:
            raise web.HTTPRequestEntityTooLarge(self.most, request.content_length)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError("a compressed body is not accepted: packets do not get any smaller")
        if request.content.is_eof():  # all of it has come
            return await request.read()
        seconds = self._service.options.timeout
        try:
            return await asyncio.wait_for(request.read(), seconds)
        except asyncio.TimeoutError as error:
            raise TooSlow(f"not received within {seconds:g} s") from error


class HttpRequest:
    """A parsed request. Raises RequestError for anything else.

    Attributes:
        request: the form that both transports share.
        binary: outputs that the client wants as raw bytes.
    """

    def __init__(self, body: bytes, json_length: int | None, model: str):
        if json_length is not None and not 0 < json_length <= min(len(body), MAX_JSON):
            raise RequestError(f"{json_length} bytes of JSON announced, in a body of {len(body)}")
        end = len(body) if json_length is None else json_length
        header = _mapping(_parse(body[:end]), "the request")
        parameters = _mapping(header.get("parameters", {}), "parameters")
        outputs = [_mapping(entry, "an output") for entry in _list(header.get("outputs", []), "outputs")]
        top_k = parameters.get("top_k", TOP_K)
        identity = header.get("id", "")
        if not isinstance(identity, str) or type(top_k) is not int:
            raise RequestError("id must be a string, and top_k a whole number")
        wanted = tuple(str(entry.get("name")) for entry in outputs)
        self.request = Request(model, identity, _packet(header, body[end:]), top_k, wanted)
        default = parameters.get("binary_data_output", False) is True
        self.binary = {name for name in OUTPUTS if default and not wanted}
        for name, entry in zip(wanted, outputs, strict=True):
            if _mapping(entry.get("parameters", {}), "parameters").get("binary_data", default) is True:
                self.binary.add(name)

    def response(self, answer: Answer) -> tuple[bytes, int | None]:
        """The body of the answer, and the bytes of JSON at its start; None where all of it is JSON."""
        outputs, raw = [], b""
        for name, tensor in tensors(answer, self.request).items():
            entry: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": list(tensor.shape)}
            if name in self.binary:
                entry["parameters"] = {"binary_data_size": tensor.nbytes}
                raw += tensor.tobytes()
            else:
                entry["data"] = tensor.tolist()
            outputs.append(entry)
        header = {"model_name": self.request.model, "model_version": VERSION, "outputs": outputs}
        if self.request.identity:
            header["id"] = self.request.identity
        text = json.dumps(header, allow_nan=False).encode()
        return text + raw, len(text) if self.binary else None


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON: {error}") from error


def _packet(header: dict[str, Any], raw: bytes) -> bytes:
    inputs = [_mapping(entry, "an input") for entry in _list(header.get("inputs"), "inputs")]
    if len(inputs) != 1 or inputs[0].get("name") != INPUT:
        raise RequestError(f"exactly one input, with the name {INPUT!r}")
    (tensor,) = inputs
    shape, datatype = _list(tensor.get("shape"), "shape"), tensor.get("datatype")
    size = _mapping(tensor.get("parameters", {}), "parameters").get("binary_data_size")
    if size is not None:
        if type(size) is not int or size != len(raw) or "data" in tensor:
            raise RequestError(f"{INPUT}: {size!r} bytes announced, {len(raw)} follow the JSON")
        return element(str(datatype), shape, raw)
    if raw:
        raise RequestError(f"{len(raw)} bytes follow the JSON, and no input has a binary_data_size")
    if datatype != "UINT8":
        raise RequestError(
            f"{INPUT}: JSON cannot hold {datatype} that is not text; send it as binary or UINT8"
        )
    return element("UINT8", shape, _octets(_list(tensor.get("data"), "data")))


def _octets(data: list[Any]) -> bytes:
    try:
        return bytes(data)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{INPUT}: data of UINT8 is a flat list of 0 .. 255") from error


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{name} must be a JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{name} must be a list")
    return value


@web.middleware
async def _json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into the protocol's answers: {"error": text}."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = web.json_response({"error": error.text or error.reason}, status=error.status)
    except Exception as error:
        told = fault(error)
        response = web.json_response({"error": told.text}, status=told.http)
        if told.retry_after is not None:
            response.headers["Retry-After"] = str(told.retry_after)
    if not request.content.is_eof():  # the rest of the body is not worth reading
        response.force_close()
    return response


def _model_name(request: web.Request) -> str:
    check_version(request.match_info.get("version", ""))
    return request.match_info["model"]


def _json_length(request: web.Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(f"{JSON_LENGTH} is a number of bytes, not {text[:32]!r}")
    return int(text)
