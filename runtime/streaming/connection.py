"""One HTTP connection to a tail server, Open Inference Protocol v2."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from runtime.errors import StreamError

MODEL = "ratehold"
"""The model name of our own server that takes packets of every bundle."""

LENGTH_BYTES = 4
"""A BYTES element is its length, uint32 little-endian, followed by so many bytes."""

PORT = 8000
JSON_LENGTH = "Inference-Header-Content-Length"
CONNECT_SECONDS = 1.0
"""Time-out of an attempt to connect. The system would repeat it with doubled pauses; with a short time-out a
server that was silent is found as soon as a server that refused."""

TRY_AGAIN = (408, 425, 429, 502, 503, 504)
"""Status codes that say nothing about the frame."""


@dataclass(frozen=True)
class ServerAnswer:
    """The server's answer to a frame: its likeliest classes and their probabilities, likeliest first."""

    classes: tuple[int, ...]
    probabilities: tuple[float, ...]


class Refused(Exception):
    """The server does not take this frame and never will; the message is the server's."""


class TryAgain(Exception):
    """The server cannot answer now. seconds: the pause that it asks for, or None."""

    def __init__(self, text: str, seconds: float | None):
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True)
class Address:
    """Address of a server, and the TLS settings of this client.

    timeout: a connection counts as dead after so many seconds without a byte.
    tls: None for plain HTTP.
    """

    host: str
    port: int
    timeout: float
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(
        cls,
        text: str,
        timeout: float,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> Address:
        """Parse ``[http[s]://]HOST[:PORT]``; PEM files need https. Raises StreamError for anything else."""
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port or PORT
        except ValueError as error:
            raise StreamError(f"{text}: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.path.strip("/"):
            raise StreamError(f"{text}: a server is [http[s]://]HOST[:PORT]")
        if parts.scheme == "http":
            if ca or certificate or key:
                raise StreamError(f"{text}: certificates need https://{host}:{port}")
            return cls(host, port, timeout)
        return cls(host, port, timeout, _context(ca, certificate, key))

    @property
    def url(self) -> str:
        """The address in the form that ``of`` parses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"


class Connection:
    """A connection that opens when it is needed. Not thread-safe.

    Args:
        address: of the server.
        model: the server's name for the model that takes packets.
    """

    def __init__(self, address: Address, model: str = MODEL):
        self.address = address
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._known = address.tls is None
        host, port, timeout = address.host, address.port, address.timeout
        if address.tls is None:
            self._http: HTTPConnection = _AtOnce(host, port, timeout)
        else:
            self._http = _AtOnceByTls(host, port, timeout=timeout, context=address.tls)
        self._http._create_connection = _connect  # type: ignore[attr-defined]

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer.

        Raises Refused, TryAgain, or OSError or HTTPException when the connection can be used no more.
        """
        content, headers = request(identity, packet)
        try:
            self._http.request("POST", self._path, content, headers)
            response = self._http.getresponse()
        except (ConnectionError, ssl.SSLEOFError) as error:
            if self._known:
                raise
            # With TLS 1.3 a server that wants our certificate hangs up like a server that has died.
            text = f"{self.address.url} hung up before its first answer; does it want a client's certificate?"
            raise ConnectionResetError(text) from error
        self._known = True
        text = response.read().decode(errors="replace")
        if response.status == 200:
            return _answer(text)
        said = f"{response.status} {_error(text) or response.reason}"
        if response.status in TRY_AGAIN:
            later = response.headers.get("Retry-After", "")
            raise TryAgain(said, float(later) if later.isascii() and later.isdigit() else None)
        raise Refused(said)

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""
        self._http.close()


class _AtOnce(HTTPConnection):
    """Sends headers and body of a request in one piece: two pieces would wake the server twice."""

    _held: bytes | None = None

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        """End the headers, and send them together with the body, which is bytes."""
        self._held = b""
        super().endheaders(message_body, encode_chunked=encode_chunked)
        whole, self._held = self._held, None
        self.send(whole)

    def send(self, data: Any) -> None:
        """Send bytes, or hold them until the request is whole."""
        if self._held is None:
            super().send(data)
        else:
            self._held += data


class _AtOnceByTls(_AtOnce, HTTPSConnection):
    """The same over TLS."""


def _connect(where: tuple[str, int], timeout: float, source: tuple[str, int] | None) -> socket.socket:
    """Like ``socket.create_connection``; ``timeout`` also holds for the TLS handshake and later."""
    connection = socket.create_connection(where, min(timeout, CONNECT_SECONDS), source)
    connection.settimeout(timeout)
    return connection


def request(identity: str, packet: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request for the likeliest classes of one packet.

    The packet is a BYTES element: our own server takes UINT8 too, Triton only what the model declares.
    """
    element = len(packet).to_bytes(LENGTH_BYTES, "little") + packet
    tensor = {
        "name": "packet",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(element)},
    }
    outputs = [{"name": "top_classes"}, {"name": "top_probabilities"}]
    header = {"id": identity, "inputs": [tensor], "outputs": outputs}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + element, {JSON_LENGTH: str(len(text))}


def _answer(text: str) -> ServerAnswer:
    try:
        data = {output["name"]: output["data"] for output in json.loads(text)["outputs"]}
        classes, shares = data["top_classes"], data["top_probabilities"]
        return ServerAnswer(tuple(int(c) for c in classes), tuple(float(p) for p in shares))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HTTPException(f"not an answer of the Open Inference Protocol: {error!r}") from error


def _error(text: str) -> str:
    try:
        parsed: Any = json.loads(text)
        return str(parsed["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


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
