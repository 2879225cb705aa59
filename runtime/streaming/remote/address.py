"""The address of a tail server, its TLS settings, and the way to it."""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.errors import StreamError
from runtime.streaming.remote.answers import Ended

PORT, TLS_PORT = 8000, 443
PROBE_SECONDS = 1.0
"""A further attempt begins after so long. The system repeats an attempt with doubled pauses, so that alone it
would find a server that returns much too late."""

STAGGER_SECONDS = 0.25
"""Pause between the first attempts at the addresses of one name (RFC 8305)."""

POLL_SECONDS = 0.2
"""Longest wait that does not notice the client's end."""

FORM = "[http[s]://]HOST[:PORT]"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True)
class Address:
    """Address of a server, and the TLS settings of this client.

    timeout: seconds to connect, and again for a whole answer; afterwards the connection counts as dead.
    tls: None for plain HTTP.
    known: set once a tail server has answered here; until then a stranger's certificate is an error.
    """

    host: str
    port: int
    timeout: float
    tls: ssl.SSLContext | None = None
    known: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        text: str,
        timeout: float,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> Address:
        """Parse ``[http[s]://]HOST[:PORT]``; PEM files need https. Raises StreamError for anything else.

        Without a port, https is port 443, everything else the port of our own server, 8000.
        """
        if "@" in text:
            raise StreamError(f"a server is {FORM}: user names and passwords are not sent")
        try:
            if not text.isprintable() or " " in text:
                raise ValueError("blanks and control characters are no part of an address")
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = _host(parts.hostname or ""), parts.port
        except ValueError as error:
            raise StreamError(f"{text!r:.100}: a server is {FORM}: {error}") from error
        unused = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in ("http", "https") or unused or port == 0:
            raise StreamError(f"{text!r:.100}: a server is {FORM}, and nothing else")
        if parts.scheme == "http":
            port = port or PORT
            if ca or certificate or key:
                raise StreamError(f"{text}: certificates need https://{host}:{port}")
            return cls(host, port, timeout)
        return cls(host, port or TLS_PORT, timeout, _context(ca, certificate, key))

    @property
    def url(self) -> str:
        """The address in the form that ``of`` parses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @property
    def name(self) -> str:
        """The host without the zone of a link-local address, which means nothing to the server."""
        return self.host.partition("%")[0]

    def resolve(self) -> list[tuple[Any, ...]]:
        """What ``socket.getaddrinfo`` finds. Raises OSError that names the host."""
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise OSError(f"the name {self.host} does not resolve: {told}") from error

    def connect(self, ended: threading.Event) -> socket.socket:
        """Connect, with TLS where it is asked for; TCP and TLS take at most ``timeout`` seconds each.

        Raises OSError, or Ended soon after ``ended`` is set.
        """
        connection = first_connected(self.resolve(), self.timeout, ended)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                connection = self.tls.wrap_socket(
                    connection, server_hostname=self.name, do_handshake_on_connect=False
                )
                _shake_hands(connection, self.timeout, ended)
            connection.settimeout(self.timeout)
        except BaseException:
            connection.close()
            raise
        return connection


def first_connected(found: list[tuple[Any, ...]], timeout: float, ended: threading.Event) -> socket.socket:
    """The first of several attempts to connect; the others are closed.

    The first attempt at each address may take ``timeout`` seconds, as over a satellite. Beside it a fresh one
    begins every ``PROBE_SECONDS``, which finds a server that was away soon after its return.

    Raises OSError when every address refuses, TimeoutError, or Ended.
    """
    with selectors.DefaultSelector() as selector:
        attempts = _Attempts(found, selector)
        try:
            return attempts.run(timeout, ended)
        finally:
            attempts.close()


class _Attempts:
    """Attempts to connect that are under way: for each address a patient one and a probe."""

    def __init__(self, found: list[tuple[Any, ...]], selector: selectors.DefaultSelector):
        self._found, self._selector = found, selector
        self._failed: dict[int, OSError] = {}
        self._probes: dict[int, socket.socket] = {}
        self._begun = 0

    def run(self, timeout: float, ended: threading.Event) -> socket.socket:
        now = time.monotonic()
        deadline, stagger, probe = now + timeout, now, now + PROBE_SECONDS
        while True:
            if ended.is_set():
                raise Ended
            if len(self._failed) == len(self._found):
                raise self._failed[max(self._failed)]
            if now >= deadline:
                raise TimeoutError(f"no connection within {timeout:g} s")
            if self._begun < len(self._found) and (now >= stagger or not self._selector.get_map()):
                self._begin(self._begun)
                self._begun, stagger = self._begun + 1, now + STAGGER_SECONDS
            if now >= probe:
                self._probe()
                probe = now + PROBE_SECONDS
            until = min(deadline, probe, now + POLL_SECONDS)
            if self._begun < len(self._found):
                until = min(until, stagger)
            connected = self._wait(max(0.0, until - now))
            if connected is not None:
                return connected
            now = time.monotonic()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._drop(key)

    def _begin(self, place: int) -> socket.socket | None:
        family, kind, protocol, _, where = self._found[place]
        try:
            attempt = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine lacks
            self._failed[place] = error
            return None
        attempt.setblocking(False)
        code = attempt.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            attempt.close()
            self._failed[place] = OSError(code, os.strerror(code))
            return None
        self._selector.register(attempt, selectors.EVENT_WRITE, place)
        return attempt

    def _probe(self) -> None:
        for place in range(self._begun):
            if place in self._failed:
                continue
            last = self._probes.pop(place, None)
            if last is not None:
                self._drop(self._selector.get_key(last))
            fresh = self._begin(place)
            if fresh is not None:
                self._probes[place] = fresh

    def _wait(self, seconds: float) -> socket.socket | None:
        for key, _ in self._selector.select(seconds):
            attempt = key.fileobj
            assert isinstance(attempt, socket.socket)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                self._selector.unregister(attempt)
                return attempt
            self._failed[key.data] = OSError(code, os.strerror(code))
        for key in list(self._selector.get_map().values()):
            if key.data in self._failed:
                self._probes.pop(key.data, None)
                self._drop(key)
        return None

    def _drop(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()


def _shake_hands(connection: ssl.SSLSocket, timeout: float, ended: threading.Event) -> None:
    deadline = time.monotonic() + timeout
    while not ended.is_set():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no TLS within {timeout:g} s")
        connection.settimeout(min(left, POLL_SECONDS))
        try:
            return connection.do_handshake()
        except TimeoutError:
            continue
    raise Ended


def _host(text: str) -> str:
    """A host in ASCII. Raises ValueError, of which UnicodeError is one."""
    if ":" in text:  # urlsplit has seen the brackets of an IPv6 address
        return text.replace("%25", "%")
    host = text.encode("idna").decode()
    if not _NAME.fullmatch(host):
        raise ValueError("that is no name of a host")
    return host


def _context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
        raise StreamError(
            f"TLS: {error}; PEM files of CA, certificate and key were expected: {files}"
        ) from error
    return context
