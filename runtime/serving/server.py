"""The server: opens the service, listens for HTTP and gRPC, reloads on SIGHUP, drains on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys

import grpc
from aiohttp import web

from runtime.bundle import load
from runtime.dashboard.page import ROOT
from runtime.errors import ServingError
from runtime.json_log import Forward, JsonLog
from runtime.service_manager import ALIVE, READY, STOPPING, ServiceManager
from runtime.serving.dashboard import ServerView
from runtime.serving.grpc_front import GrpcFront
from runtime.serving.http_front import HttpFront
from runtime.serving.intake.connections import (
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    Connections,
    connection_limit,
)
from runtime.serving.intake.heap import few_arenas, give_back
from runtime.serving.intake.tls import Tls
from runtime.serving.models import Models
from runtime.serving.options import Options, is_loopback
from runtime.serving.service import Service
from runtime.serving.tracing import Tracing

LIBRARIES = ("aiohttp", "asyncio", "grpc")
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Address of this machine for a browser, where the server listens on every address."""

BACKLOG = 512
SEND_BUFFER = 1 << 16
"""Bytes of answers that the system keeps for a peer that does not read; its own default is megabytes."""

KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Socket options, where the system has them: a silent peer counts as gone after a minute."""

LOOKAHEAD = 1 << 14
"""Bytes of a call's message that gRPC takes before it is asked for them."""

SWITCH_SECONDS = 0.001
"""A worker that wants the interpreter from a busy event loop has it after so long, several times a frame.
Python's own default is 5 ms."""

TIDY_SECONDS = 5.0
"""Memory is given back to the system at most so often."""

MOST_STREAMS = 32
"""Calls at a time of one gRPC connection; further ones wait at the client."""


class Server:
    """Both listeners of one service. The constructor loads and warms the bundles.

    Attributes:
        service: what both listeners ask.
        http_port, grpc_port: ports of the listeners, once started.

    Raises ServingError, BundleError or EngineError when it cannot open with these options.
    """

    def __init__(self, options: Options, log: JsonLog):
        self.options, self._log = options, log
        self._tls = Tls(options.certificates) if options.certificates else None
        self.service = Service(Models([load(name) for name in options.bundles]), options, log)
        if options.otel:
            self.service.watchers.append(Tracing())
        self._view = ServerView(self.service.models.bundles) if options.dashboard else None
        if self._view is not None:
            self.service.watchers.append(self._view)
        self.http_port = self.grpc_port = 0

    @property
    def page_url(self) -> str | None:
        """Address of the dashboard from this machine; None without one."""
        if self._view is None:
            return None
        host = LOOPBACK.get(self.options.host, self.options.host)
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{_bracketed(host)}:{self.http_port}{ROOT}"

    async def start(self) -> None:
        """Listen. Raises ServingError when a port is taken."""
        most = connection_limit()
        local = is_loopback(self.options.host)
        front = HttpFront(self.service, self._view, local)
        self._http = web.AppRunner(front.app, handler_cancellation=True, shutdown_timeout=1.0)
        await self._http.setup()
        listener = _listen(self.options.host, self.options.http_port)
        assert self._http.server is not None
        self._connections = Connections(
            self._http.server, listener, (lambda: tls.context) if (tls := self._tls) is not None else None,
            most, self.options.timeout, self.service.refused,
        )  # fmt: skip
        self.http_port = listener.getsockname()[1]
        await self._start_grpc(most, local)
        self._tidying = asyncio.ensure_future(self._tidy())
        names = [bundle.manifest.name for bundle in self.service.models.bundles]
        self._log(
            "listening", host=self.options.host, http_port=self.http_port, grpc_port=self.grpc_port,
            tls=self.options.certificates is not None, bundles=names, workers=self.options.workers,
            batch=self.options.batch,
        )  # fmt: skip
        for name, reason in self.service.one_by_one.items():
            self._log("one by one", bundle=name, reason=reason)

    async def stop(self) -> None:
        """Refuse new requests, answer the accepted ones, close."""
        self._log("draining", pending=self.service.pending)
        self._tidying.cancel()
        await self.service.drain()
        self._connections.close()
        await self._grpc.stop(grace=1.0)
        await self._http.cleanup()
        self.service.close()
        self._log("stopped", abandoned=self.service.pending)

    def reload(self) -> None:
        """Open the log again, and show new connections the certificates that are there now."""
        self._log.reopen()
        try:
            if self._tls is not None:
                self._tls.reload()
        except ServingError as error:
            self._log("not reloaded", error=str(error))
        else:
            self._log("reloaded", tls=self._tls is not None)

    async def _tidy(self) -> None:
        """Give memory back to the system while requests are turned away, and after the last of them."""
        seen = self.service.turned_away
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self.service.turned_away != seen:
                seen = self.service.turned_away
                await asyncio.to_thread(give_back)

    async def _start_grpc(self, most: int, local: bool) -> None:
        front = GrpcFront(self.service, local)
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # or a second server would take half of the first one's requests
                ("grpc.max_receive_message_length", front.most),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.max_concurrent_streams", MOST_STREAMS),
                ("grpc.http2.lookahead_bytes", LOOKAHEAD),
                ("grpc.http2.bdp_probe", 0),  # or windows grow with what a stranger can send
                ("grpc.max_allowed_incoming_connections", most),
                ("grpc.max_connection_idle_ms", round(1e3 * IDLE_SECONDS)),
                ("grpc.server_handshake_timeout_ms", round(1e3 * HANDSHAKE_SECONDS)),
            ]
        )
        self._grpc.add_generic_rpc_handlers(front.handlers())
        address = f"{_bracketed(self.options.host)}:{self.options.grpc_port}"
        try:
            if self._tls is None:
                self.grpc_port = self._grpc.add_insecure_port(address)
            else:
                self.grpc_port = self._grpc.add_secure_port(address, self._tls.credentials)
        except RuntimeError as error:
            raise ServingError(f"cannot listen on {address} for gRPC: {error}") from error
        await self._grpc.start()


def run(options: Options, log: JsonLog) -> None:
    """Serve until SIGTERM or SIGINT, and drain."""
    few_arenas()
    server = Server(options, log)
    libraries = Forward(log)
    for name in LIBRARIES:
        logging.getLogger(name).addHandler(libraries)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # networks stay: full collections skip them, so they are short
    asyncio.run(_until_signalled(server))


async def _until_signalled(server: Server) -> None:
    stop, manager = asyncio.Event(), ServiceManager()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    await server.start()
    if server.page_url is not None:
        print(f"ratehold: {server.page_url}", file=sys.stderr, flush=True)
    manager.tell(READY)
    beating = asyncio.ensure_future(_beat(server.service, manager))
    await stop.wait()
    manager.tell(STOPPING)
    await server.stop()
    beating.cancel()


async def _beat(service: Service, manager: ServiceManager) -> None:
    """Tell the manager that this loop turns and no frame is stuck in a worker; it restarts what is silent."""
    while manager.period is not None:
        if not service.stuck:
            manager.tell(ALIVE)
        await asyncio.sleep(manager.period)


def _bracketed(host: str) -> str:
    """A host as URLs have it: an IPv6 address in brackets, its zone escaped."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; its connections inherit the options for dead and slow peers."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServingError(f"cannot listen on {host} port {port} for HTTP: {error}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listener
