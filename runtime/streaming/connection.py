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
from http.client import HTTP_PORT, BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any, cast
from urllib.parse import quote

from runtime.errors import StreamError
from runtime.streaming.remote.address import TLS_PORT, Address
from runtime.streaming.remote.answers import (
    Elsewhere,
    Ended,
    Refused,
    ServerAnswer,
    TryAgain,
    printable,
    read_answer,
)
from runtime.streaming.remote.attempts import POLL_SECONDS
from runtime.streaming.remote.fleet import Fleet, Place
from runtime.tasks import Task
from runtime.tasks.classification import Classification

MODEL = "ratehold"
"""The model name of our own server that takes packets of every bundle."""

CLASSES = Classification(1 << 20)
"""The task of any classifier's bundle."""

LENGTH_BYTES = 4
"""A BYTES element is its length, uint32 little-endian, followed by so many bytes."""

JSON_LENGTH = "Inference-Header-Content-Length"

MOST_BODY, MOST_BYTES = 1 << 17, 1 << 18
"""Most bytes of an answer's body, and of all that is read for one answer. 100 boxes take 12,000."""

TLS_ALERT = "\x15\x03"
"""How a TLS server begins its answer to plain HTTP."""

CLOCK_CODES = (9, 10)
"""OpenSSL's codes of a certificate that is not valid yet, or no more: a clock may be wrong."""

DISTRUST = ("UNKNOWN_CA", "CERTIFICATE_REQUIRED", "ALERT_ACCESS_DENIED", "ALERT_BAD_CERTIFICATE")
"""Words of a TLS alert with which a server declines our certificate."""


class Connection:
    """A connection that opens when it is needed. Not thread-safe.

    Args:
        servers: any of which may take any frame; it leads to one, as long as that works.
        model: the server's name for the model that takes packets.
        task: of the packets' bundle: what the server is asked for.
        ended: once it is set, ``infer`` soon raises Ended.
    """

    def __init__(
        self,
        servers: Fleet | Address,
        model: str = MODEL,
        ended: threading.Event | None = None,
        task: Task = CLASSES,
    ):
        self._fleet = servers if isinstance(servers, Fleet) else Fleet([servers])
        self._path = f"/v2/models/{quote(model, safe='')}/infer"
        self._ended, self._task = ended or threading.Event(), task
        self._http = _AtOnce(self._fleet, self._ended)

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer.

        Raises Refused or TryAgain; OSError or HTTPException when the connection can be used no more;
        Elsewhere when another server may be asked at once; StreamError when server and client do not trust
        each other; Ended when the client ends.
        """
        try:
            answer = self._ask(identity, packet)
        except (OSError, HTTPException, TryAgain) as error:
            place = self._http.place
            if place is None:  # no server lets us in
                raise
            raise self._elsewhere(place, error) from error
        except Refused:
            self._works()
            raise
        self._works()
        return answer

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""
        self._http.close()

    def _ask(self, identity: str, packet: bytes) -> ServerAnswer:
        content, headers = request(identity, packet, self._task)
        try:
            self._http.refresh()
            self._http.request("POST", self._path, content, headers)
            response = self._http.getresponse()
            body = response.read(MOST_BODY)
            if not response.isclosed():
                self.close()
                _check_whole(response, body)
            return read_answer(response.status, response.reason, response.headers, body, identity, self._task)
        except (Refused, TryAgain, Ended) as settled:
            if isinstance(settled, Ended) or (isinstance(settled, TryAgain) and settled.odd):
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

    def _works(self) -> None:
        if self._http.place is not None:
            self._fleet.answered(self._http.place)

    def _elsewhere(self, place: Place, error: OSError | HTTPException | TryAgain) -> Exception:
        """What a failure of one server means where there may be others."""
        told = isinstance(error, TryAgain)
        slow = error.odd if isinstance(error, TryAgain) else isinstance(error, TimeoutError)
        seconds = self._fleet.failed(place, slow, error.seconds if isinstance(error, TryAgain) else None)
        if not self._fleet.alone:
            self.close()  # to find the others when they are back
        if seconds is None:
            return error
        said = f"{place}: {error}" if told else f"{place}: {type(error).__name__}: {error}"
        if seconds:
            return TryAgain(said, seconds if told else None)
        return Elsewhere(f"{said}; another server is asked")

    def _hung_up(self, error: OSError) -> OSError:
        address = self._http.address
        if address.known.is_set():
            return error
        # With TLS 1.3 a server that wants our certificate hangs up like a server that has died.
        guess = "does it want a client's certificate?" if address.tls else "does it want https://?"
        return ConnectionResetError(f"{address.url} hung up before its first answer; {guess}")

    def _distrust(self, error: ssl.SSLError) -> Exception:
        """What a failure of TLS means: an error of the user's, or something that may pass."""
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in CLOCK_CODES:
                today = time.strftime("%Y-%m-%d %H:%M")
                return TryAgain(f"{error.verify_message}: here it is {today}; is a clock wrong?", odd=True)
            final = True
        else:
            final = any(word in str(error.reason or "").upper() for word in DISTRUST)
        address = self._http.address
        if final and self._fleet.distrusts(address):
            return StreamError(f"server and client do not trust each other: {address.url}: {error}")
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
    """Sends headers and body of a request in one piece: two pieces would wake the server twice.

    Attributes:
        place: the server to which it is, or was, connected; None where none let it in.
    """

    _held: bytes | None = None

    def __init__(self, fleet: Fleet, ended: threading.Event):
        super().__init__(fleet.addresses[0].name)
        self._fleet, self._ended, self.place = fleet, ended, cast("Place | None", None)
        self.response_class = partial(_BoundedResponse, seconds=fleet.timeout, ended=ended)  # type: ignore[assignment]

    @property
    def address(self) -> Address:
        """Of the server that was tried last."""
        return self.place.address if self.place else self._fleet.addresses[0]

    def connect(self) -> None:
        """Connect to a server, as its address says."""
        self.place = None
        connection, self.place = self._fleet.connect(self._ended)
        address = self.place.address
        self.host, self.port = address.name, address.port
        self.default_port = TLS_PORT if address.tls else HTTP_PORT
        self.sock = address.secure(connection, self._ended)

    def refresh(self) -> None:
        """Connect, and before it close a connection on which something came.

        That is its end, or an answer nobody asked for.
        """
        if self.sock is None:
            return self.connect()  # first: the headers name the server
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            stale = bool(selector.select(0))
        if stale or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            self.close()
            self.connect()
        else:
            self.sock.settimeout(self._fleet.timeout)

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


def request(identity: str, packet: bytes, task: Task = CLASSES) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request for the answer to one packet, without the raw output.

    The packet is a BYTES element: our own server takes UINT8 too, Triton only what the model declares.
    """
    element = len(packet).to_bytes(LENGTH_BYTES, "little") + packet
    tensor = {
        "name": "packet",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(element)},
    }
    outputs = [{"name": name} for name in task.brief]
    header = {"id": identity, "inputs": [tensor], "outputs": outputs}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + element, {JSON_LENGTH: str(len(text))}
