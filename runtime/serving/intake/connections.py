"""HTTP connections: accepted below the limit of descriptors, each given a time to send its request."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from runtime.json_log import shortened
from runtime.serving.intake.tls import read_in_pieces

MOST_CONNECTIONS = 1024
"""Connections of a transport, where the limit of descriptors allows as many."""

LEAST_CONNECTIONS = 4
SPARE_DESCRIPTORS = 16
"""Descriptors that are left to logs, certificates and what libraries open."""

PIECE = 1 << 15
"""Bytes that are parsed at a time: a stranger's chunks of one byte do not hold the loop."""

IDLE_SECONDS = 75.0
"""A connection without requests is closed after so many seconds."""

LINGER_SECONDS = 1.0
"""Seconds for a sender whose body was refused to read the answer, before the connection is closed."""

HANDSHAKE_SECONDS = 10.0
ACCEPT_SECONDS = 0.002
"""Seconds between two connections of a queue: what each asks at once takes half of that from the loop."""

SWEEP_SECONDS = 1.0
PAUSE_SECONDS = 0.5
"""Seconds without accepting, where the system has no descriptor left."""

CROWDED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: 51\r\n\r\n"
    b'{"error": "too many connections here: try later"}  '
)

Refused = Callable[[str, str], None]
"""Called with the kind of a refusal and its text."""


def connection_limit() -> int:
    """Connections that each of two transports may hold, below the limit of descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    listing = Path("/proc/self/fd")
    used = len(list(listing.iterdir())) if listing.exists() else 64
    return min(MOST_CONNECTIONS, max(LEAST_CONNECTIONS, (limit - used - SPARE_DESCRIPTORS) // 2))


class HttpPeer(RequestHandler):
    """One connection.

    Attributes:
        handling: a request's headers have come, and its answer is not sent yet.
        deciding: its body has come too: the peer waits for the server, not the server for the peer.
        since: when the last answer was sent, or the connection made; seconds of the loop's clock.
    """

    __slots__ = ("_begun", "_connections", "_refused", "deciding", "handling", "since")

    def __init__(self, connections: Connections, manager: web.Server, **options: Any):
        loop = asyncio.get_running_loop()
        super().__init__(manager, loop=loop, **options)
        self._connections, self.since = connections, loop.time()
        self.handling = self.deciding = self._refused = False
        self._begun: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with small pieces."""
        if hasattr(transport, "max_size"):
            transport.max_size = PIECE
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the place to others."""
        self._connections.gone(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; the time of a request begins with its first byte."""
        if self._begun is None:
            self._begun = self._loop.time()
        super().data_received(data)

    def read_no_more(self) -> None:
        """Leave the rest of a refused body in the socket until the connection is closed.

        aiohttp would read it for ``LINGER_SECONDS``: of every refused body as much as its sender can send.
        """
        self._refused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self, *given: Any, **more: Any) -> None:
        """Read on, unless ``read_no_more`` was called."""
        if not self._refused:
            super().resume_reading(*given, **more)

    def begin(self) -> None:
        """The headers of a request have come."""
        self.handling, self._begun = True, None

    def end(self) -> None:
        """The answer is ready."""
        self.handling = self.deciding = False
        self.since = self._loop.time()
        self._begun = None if self._begun is None else self.since

    def overdue(self, seconds: float) -> bool:
        """Whether the headers of a request take longer than so many seconds."""
        return not self.handling and self._begun is not None and self._loop.time() - self._begun > seconds

    def turn_away(self) -> None:
        """Close; who has sent a part of a request is told to try later."""
        transport = self.transport
        if transport is None:
            return
        if transport.get_write_buffer_size():  # a peer that does not read would keep it open
            transport.abort()
        elif self.handling or self._begun is not None:
            transport.write(CROWDED)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot parse, and count it."""
        told = shortened(message or "not HTTP")
        self._connections.refused(type(exc).__name__ if exc else "BadRequest", told)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way already")
        text = told if status < 500 else "the server failed; its log says how"
        response = web.Response(
            status=status, body=json.dumps({"error": text}).encode(), content_type="application/json"
        )
        response.force_close()
        return response


class Connections:
    """Accepts connections until ``close``.

    Args:
        manager: aiohttp's server; its handlers answer.
        listener: socket that listens.
        context: returns the TLS context of a new connection; None without TLS.
        most: connections at a time. Beyond it the one that has been silent longest gives way.
        seconds: for the headers of a request.
        refused: told of connections that were closed before a request, and of what is not HTTP.
    """

    def __init__(
        self,
        manager: web.Server,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext] | None,
        most: int,
        seconds: float,
        refused: Refused,
    ):
        self._manager, self._listener, self._context = manager, listener, context
        self._most, self._seconds, self.refused = most, seconds, refused
        if context is not None:
            read_in_pieces(PIECE)
        self._open: dict[HttpPeer, asyncio.Task[None]] = {}
        listener.setblocking(False)
        self._tasks = [asyncio.ensure_future(self._accept()), asyncio.ensure_future(self._sweep())]

    def __len__(self) -> int:
        return len(self._open)

    def gone(self, peer: HttpPeer) -> None:
        """Forget a connection."""
        self._open.pop(peer, None)

    def close(self) -> None:
        """Stop listening; open connections go on."""
        for task in self._tasks:
            task.cancel()
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                self.refused("NoDescriptor", str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._open) >= self._most and not self._make_place():
                self.refused("TooManyConnections", "all connections wait for answers")
                connection.close()
                continue
            peer = HttpPeer(
                self, self._manager, access_log=None, auto_decompress=False, keepalive_timeout=IDLE_SECONDS,
                lingering_time=LINGER_SECONDS, read_bufsize=PIECE,
            )  # fmt: skip
            self._open[peer] = asyncio.ensure_future(self._connect(peer, connection))
            await asyncio.sleep(ACCEPT_SECONDS)

    async def _connect(self, peer: HttpPeer, connection: socket.socket) -> None:
        context = self._context() if self._context is not None else None
        seconds = None if context is None else HANDSHAKE_SECONDS
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: peer, connection, ssl=context, ssl_handshake_timeout=seconds
            )
        except Exception as error:  # whatever a peer does in place of a handshake
            self.gone(peer)
            connection.close()
            self.refused("Handshake", f"{type(error).__name__}: {error}")
        except BaseException:
            self.gone(peer)
            connection.close()
            raise

    def _make_place(self) -> bool:
        """Close the connection that has been silent longest; False where all wait for the server."""
        silent = min((one for one in self._open if not one.deciding), key=lambda one: one.since, default=None)
        if silent is None:
            return False
        self.refused("TooManyConnections", "the connection that was silent longest gives way")
        task = self._open.pop(silent)
        if task.done():
            silent.turn_away()
        else:
            task.cancel()
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for peer in [one for one in self._open if one.overdue(self._seconds)]:
                self.refused("TooSlow", f"no whole request within {self._seconds:g} s")
                peer.turn_away()
