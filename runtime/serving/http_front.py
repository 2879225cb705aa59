"""Open Inference Protocol v2 over HTTP: routes and answers; ``/metrics`` and the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import metadata as packages
from typing import cast

from aiohttp import web

from runtime.dashboard.hosts import from_this_machine
from runtime.json_log import shortened
from runtime.serving.dashboard import ServerView, routes
from runtime.serving.exchange import JSON_LENGTH, http_refusal, over_http
from runtime.serving.intake.connections import HttpPeer
from runtime.serving.intake.json_request import MAX_JSON
from runtime.serving.intake.reception import Reception
from runtime.serving.protocol import (
    ANY_BUNDLE,
    EXTENSIONS,
    FOREIGN,
    PLATFORM,
    VERSION,
    check_version,
    metadata,
)
from runtime.serving.service import Service

JSON_BYTES_PER_OCTET = 5
"""Most bytes of an octet of a UINT8 tensor in JSON: ``255, ``."""

RECEPTION_BYTES = 16 << 20
"""Most bytes of bodies in reception, of all connections together."""

PATIENCE_SECONDS = 1.0
"""Time that the largest body has before another one like it takes its place."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpFront:
    """The routes of one service, and of its page where it has one. aiohttp runs ``app``.

    local: the listener is on loopback: requests that name another host, or come from its pages, are refused.
    """

    def __init__(self, service: Service, view: ServerView | None = None, local: bool = False):
        self._service, self._local = service, local
        self.most = MAX_JSON + JSON_BYTES_PER_OCTET * service.models.max_packet
        self._reception = Reception(max(RECEPTION_BYTES, 2 * self.most), PATIENCE_SECONDS)
        self.app = web.Application(client_max_size=self.most, middlewares=[self._guarded])
        self.app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
                web.post("/v2/repository/index", self._index),
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
        return web.json_response({"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self._service.ready
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _index(self, _: web.Request) -> web.Response:
        return web.json_response(self._service.index())

    async def _model(self, request: web.Request) -> web.Response:
        name = _model_name(request)
        tensors = metadata(self._service.models.tasks(name))
        return web.json_response({"name": name, "versions": [VERSION], "platform": PLATFORM, **tensors})

    async def _model_ready(self, request: web.Request) -> web.Response:
        name, ready = _model_name(request), self._service.ready
        self._service.models.tasks(name)
        return web.json_response({"name": name, "ready": ready}, status=200 if ready else 503)

    async def _infer(self, request: web.Request) -> web.Response:
        async def body() -> bytes:
            found = await self._body(request)
            cast(HttpPeer, request.protocol).deciding = True
            return found

        content, headers = await over_http(
            self._service, request.match_info["model"], request.match_info.get("version", ""),
            request.headers.get(JSON_LENGTH), body,
        )  # fmt: skip
        return web.Response(body=content, headers=headers)

    async def _body(self, request: web.Request) -> bytes:
        """The whole body, unless it is larger than any request can be."""
        if request.content_length is not None and request.content_length > self.most:
            raise web.HTTPRequestEntityTooLarge(self.most, request.content_length)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise web.HTTPUnsupportedMediaType(
                text="a compressed body is not accepted: packets do not get any smaller"
            )
        if request.content.is_eof():  # all of it has come
            return await request.read()

        async def read() -> bytes:
            found = bytearray()
            try:
                async for piece in request.content.iter_any():
                    found += piece
                    if len(found) > self.most:
                        raise web.HTTPRequestEntityTooLarge(self.most, len(found))
                return bytes(found)
            finally:
                found.clear()  # or it lived on in the traceback of what was cancelled

        size = self.most if request.content_length is None else request.content_length
        return await self._reception.receive(read, size, self._service.options.timeout)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse foreign hosts, and turn exceptions into the protocol's answers: {"error": text}."""
        peer = cast(HttpPeer, request.protocol)
        peer.begin()
        try:
            if self._local and not from_this_machine(
                request.headers.get("Host"), request.headers.get("Origin")
            ):
                self._service.metrics.error("http", "ForeignHost")
                raise web.HTTPForbidden(text=FOREIGN)
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            text = shortened(error.text or error.reason)
            response = web.json_response({"error": text}, status=error.status)
        except Exception as error:
            status, told, headers = http_refusal(error)
            response = web.json_response(told, status=status, headers=headers)
        finally:
            peer.end()
        if not request.content.is_eof():  # the rest of the body is not worth reading
            response.force_close()
            peer.read_no_more()  # nor what it would cost the loop to drop it
        return response


def _model_name(request: web.Request) -> str:
    check_version(request.match_info.get("version", ""))
    return request.match_info["model"]
