"""The server: opens the service, listens for HTTP and gRPC with or without TLS, drains on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys

import grpc
from aiohttp import web

from runtime.bundle import load
from runtime.dashboard.page import ROOT
from runtime.errors import ServingError
from runtime.json_log import Forward, JsonLog
from runtime.serving.dashboard import ServerView
from runtime.serving.grpc_front import GrpcFront
from runtime.serving.http_front import HttpFront
from runtime.serving.models import Models
from runtime.serving.options import Certificates, Options
from runtime.serving.service import Service
from runtime.serving.tracing import Tracing

LIBRARIES = ("aiohttp", "asyncio", "grpc")
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Address of this machine for a browser, where the server listens on every address."""

BACKLOG = 512
IDLE_SECONDS = 75.0
"""A connection without requests is closed after so many seconds."""

LINGER_SECONDS = 1.0
"""Seconds for a sender whose body was refused to read the answer, before the connection is closed."""

SEND_BUFFER = 1 << 16
"""Bytes of answers that the system keeps for a peer that does not read; its own default is megabytes."""

KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Socket options, where the system has them: a silent peer counts as gone after a minute."""


class Server:
    """Both listeners of one service. The constructor loads and warms the bundles.

    Attributes:
        service: what both listeners ask.
        http_port, grpc_port: ports of the listeners, once started.

    Raises ServingError, BundleError or EngineError when it cannot open with these options.
    """

    def __init__(self, options: Options, log: JsonLog):
        self.options, self._log = options, log
        self._context = http_context(options.certificates) if options.certificates else None
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
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{_bracketed(host)}:{self.http_port}{ROOT}"

    async def start(self) -> None:
        """Listen. Raises ServingError when a port is taken."""
        self._http = web.AppRunner(
            HttpFront(self.service, self._view).app, access_log=None, auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS, lingering_time=LINGER_SECONDS, shutdown_timeout=1.0,
        )  # fmt: skip
        await self._http.setup()
        listener = _listen(self.options.host, self.options.http_port)
        await web.SockSite(self._http, listener, ssl_context=self._context, backlog=BACKLOG).start()
        self.http_port = listener.getsockname()[1]
        await self._start_grpc()
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
        await self.service.drain()
        await self._grpc.stop(grace=1.0)
        await self._http.cleanup()
        self.service.close()
        self._log("stopped", abandoned=self.service.pending)

    async def _start_grpc(self) -> None:
        front = GrpcFront(self.service)
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # or a second server would take half of the first one's requests
                ("grpc.max_receive_message_length", front.most),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
            ]
        )
        self._grpc.add_generic_rpc_handlers((front.handler(),))
        address = f"{_bracketed(self.options.host)}:{self.options.grpc_port}"
        try:
            if self.options.certificates is None:
                self.grpc_port = self._grpc.add_insecure_port(address)
            else:
                credentials = grpc_credentials(self.options.certificates)
                self.grpc_port = self._grpc.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ServingError(f"cannot listen on {address} for gRPC: {error}") from error
        await self._grpc.start()


def run(options: Options, log: JsonLog) -> None:
    """Serve until SIGTERM or SIGINT, and drain."""
    server = Server(options, log)
    libraries = Forward(log)
    for name in LIBRARIES:
        logging.getLogger(name).addHandler(libraries)
    gc.collect()
    gc.freeze()  # networks stay: full collections skip them, so they are short
    asyncio.run(_until_signalled(server))


async def _until_signalled(server: Server) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    if server.page_url is not None:
        print(f"ratehold: {server.page_url}", file=sys.stderr, flush=True)
    await stop.wait()
    await server.stop()


def http_context(certificates: Certificates) -> ssl.SSLContext:
    """A context for asyncio, TLS 1.2 or newer. Raises ServingError when a file is missing or damaged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key gets an empty password and is refused: nobody is there to type one.
        context.load_cert_chain(certificates.certificate, certificates.key, password="")
        if certificates.client_ca is not None:
            context.load_verify_locations(certificates.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        files = ", ".join(str(path) for path in vars(certificates).values() if path is not None)
        raise ServingError(
            f"TLS: {error}; PEM files of certificate, key and CA were expected: {files}"
        ) from error
    return context


def grpc_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """The same for gRPC. Call ``http_context`` first: gRPC does not say which file is wrong."""
    pair = (certificates.key.read_bytes(), certificates.certificate.read_bytes())
    authority = certificates.client_ca.read_bytes() if certificates.client_ca else None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


def _bracketed(host: str) -> str:
    """A host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; its connections inherit the options for dead and slow peers."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServingError(f"cannot listen on {host} port {port} for HTTP: {error}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listener
