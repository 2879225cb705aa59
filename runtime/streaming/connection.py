"""One HTTP connection to a tail server, Open Inference Protocol v2."""

from __future__ import annotations

import io
import json
import selectors
import socket
import ssl
import threading
import time
from functools import partial
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import quote

from runtime.errors import StreamError
from runtime.streaming.remote.address import POLL_SECONDS, TLS_PORT, Address
from runtime.streaming.remote.answers import (
    Ended,
    Refused,
    ServerAnswer,
    TryAgain,
    printable,
    read_answer,
)

MODEL = "ratehold"
"""The model name of our own server that takes packets of every bundle."""

LENGTH_BYTES = 4
"""A BYTES element is its length, uint32 little-endian, followed by so many bytes."""

JSON_LENGTH = "Inference-Header-Content-Length"

MOST_BODY, MOST_BYTES = 1 << 17, 1 << 18
"""Most bytes of an answer's body, and of all that is read for one answer: five classes take 500."""

TLS_ALERT = "\x15\x03"
"""How a TLS server begins its answer to plain HTTP."""

CLOCK_CODES = (9, 10)
"""OpenSSL's codes of a certificate that is not valid yet, or no more: a clock may be wrong."""

DISTRUST = ("UNKNOWN_CA", "CERTIFICATE_REQUIRED", "ALERT_ACCESS_DENIED", "ALERT_BAD_CERTIFICATE")
"""Words of a TLS alert with which a server declines our certificate."""


class Connection:
    """A connection that opens when it is needed. Not thread-safe.

    Args:
        address: of the server.
        model: the server's name for the model that takes packets.
        ended: once it is set, ``infer`` soon raises Ended.
    """

    def __init__(self, address: Address, model: str = MODEL, ended: threading.Event | None = None):
        self.address = address
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._ended = ended or threading.Event()
        self._http = _AtOnce(address, self._ended)

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer.

        Raises Refused or TryAgain; OSError or HTTPException when the connection can be used no more;
        StreamError when server and client do not trust each other; Ended when the client ends.
        """
        content, headers = request(identity, packet)
        try:
            self._http.refresh()
            self._http.request("POST", self._path, content, headers)
            response = self._http.getresponse()
            body = response.read(MOST_BODY)
            if not response.isclosed():
                self.close()
                _check_whole(response, body)
            answer = read_answer(response.status, response.reason, response.headers, body, identity)
        except (Refused, TryAgain, Ended) as settled:
            if isinstance(settled, Refused):
                self.address.known.set()
            elif isinstance(settled, Ended) or settled.odd:
                self.close()
            raise
        except ssl.SSLEOFError as error:
            self.close()
            raise self._hung_up(error) from error
        except ssl.SSLError as error:
            self.close()
            raise self._distrust(error) from error
        except (ConnectionResetError, BrokenPipeError) as error:
            self.close()
            raise self._hung_up(error) from error
        except (OSError, IncompleteRead):
            self.close()
            raise
        except Exception as error:  # http.client has many words for what is not HTTP
            self.close()
            raise self._nonsense(error) from error
        self.address.known.set()
        return answer

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""
        self._http.close()

    def _hung_up(self, error: OSError) -> OSError:
        if self.address.known.is_set():
            return error
        # With TLS 1.3 a server that wants our certificate hangs up like a server that has died.
        guess = "does it want a client's certificate?" if self.address.tls else "does it want https://?"
        return ConnectionResetError(f"{self.address.url} hung up before its first answer; {guess}")

    def _distrust(self, error: ssl.SSLError) -> Exception:
        """What a failure of TLS means: an error of the user's, or something that may pass."""
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in CLOCK_CODES:
                today = time.strftime("%Y-%m-%d %H:%M")
                return TryAgain(f"{error.verify_message}: here it is {today}; is a clock wrong?", odd=True)
            final = True
        else:
            final = any(word in str(error.reason or "").upper() for word in DISTRUST)
        if final and not self.address.known.is_set():
            return StreamError(f"server and client do not trust each other: {self.address.url}: {error}")
        guess = "another server or a login page?" if final else "does it speak http:// without TLS?"
        return TryAgain(f"TLS failed ({error.reason or error}): {guess}", odd=True)

    def _nonsense(self, error: Exception) -> TryAgain:
        said, line = printable(str(error)), getattr(error, "line", "")
        tls = line.startswith(TLS_ALERT)
        guess = "it speaks TLS: is it https://?" if tls else "not a tail server, or not HTTP?"
        return TryAgain(f"nonsense instead of an answer ({type(error).__name__}: {said}): {guess}", odd=True)


def _check_whole(response: HTTPResponse, body: bytes) -> None:
    """Raise what an answer that ended early, or did not end, deserves; an error's first bytes are enough."""
    if len(body) < MOST_BODY and response.length:
        raise IncompleteRead(body, response.length)
    if len(body) >= MOST_BODY and response.status == 200:
        raise TryAgain(f"200, but more than {MOST_BODY} bytes: not a tail server?", odd=True)


class _AtOnce(HTTPConnection):
    """Sends headers and body of a request in one piece: two pieces would wake the server twice."""

    _held: bytes | None = None

    def __init__(self, address: Address, ended: threading.Event):
        super().__init__(address.name, address.port)
        self._address, self._ended = address, ended
        if address.tls is not None:
            self.default_port = TLS_PORT
        self.response_class = partial(_BoundedResponse, seconds=address.timeout, ended=ended)  # type: ignore[assignment]

    def connect(self) -> None:
        """Connect as the address says."""
        self.sock = self._address.connect(self._ended)

    def refresh(self) -> None:
        """Close a kept connection on which something came: its end, or an answer nobody asked for."""
        if self.sock is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            stale = bool(selector.select(0))
        if stale or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            self.close()
        else:
            self.sock.settimeout(self._address.timeout)

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        """End the headers, and send them together with the body, which is bytes."""
        self._held = b""
        try:
            super().endheaders(message_body, encode_chunked=encode_chunked)
            whole = self._held
        finally:
            self._held = None
        self.send(whole)

    def send(self, data: Any) -> None:
        """Send bytes, or hold them until the request is whole."""
        if self._held is None:
            super().send(data)
        else:
            self._held += data


class _BoundedResponse(HTTPResponse):
    """A response that is read within bounds of time and size, whatever it consists of."""

    def __init__(
        self, sock: socket.socket, *args: Any, seconds: float, ended: threading.Event, **kwargs: Any
    ):
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp, seconds, ended))


class _BoundedReader(io.RawIOBase):
    """Reads from a socket: at most ``MOST_BYTES``, and for so many seconds from now on.

    kept: a file of the socket, which keeps it open while there is something to read.
    """

    def __init__(self, sock: socket.socket, kept: Any, seconds: float, ended: threading.Event):
        self._sock, self._kept, self._ended = sock, kept, ended
        self._seconds, self._deadline, self._left = seconds, time.monotonic() + seconds, MOST_BYTES

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError, HTTPException for too many bytes, or Ended."""
        while not self._ended.is_set():
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no whole answer within {self._seconds:g} s")
            self._sock.settimeout(min(left, POLL_SECONDS))
            try:
                count = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            if self._left == MOST_BYTES and bytes(buffer[:2]) == TLS_ALERT.encode("latin-1"):
                raise BadStatusLine(TLS_ALERT)  # no line end would ever come
            self._left -= count
            if self._left < 0:
                raise HTTPException(f"more than {MOST_BYTES} bytes")
            return count
        raise Ended

    def close(self) -> None:
        """Let go of the socket."""
        self._kept.close()
        super().close()


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
