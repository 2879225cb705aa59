"""The address of a tail server, its TLS settings, and the way to it."""

from __future__ import annotations

import ipaddress
import re
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
from runtime.streaming.remote.attempts import POLL_SECONDS

PORT, TLS_PORT = 8000, 443
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

    @property
    def numeric(self) -> bool:
        """Whether the host is a number, which no name server has to resolve."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return False
        return True

    def resolve(self) -> list[tuple[Any, ...]]:
        """What ``socket.getaddrinfo`` finds. Raises OSError that names the host."""
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise OSError(f"the name {self.host} does not resolve: {told}") from error

    def secure(self, connection: socket.socket, ended: threading.Event) -> socket.socket:
        """Make a connection to this address ready, with TLS where it is asked for.

        TLS takes at most ``timeout`` seconds. Raises OSError, or Ended soon after ``ended`` is set; the
        connection is closed then.
        """
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
