"""A crowd that takes up room: bodies and gRPC messages that never end, and bombs.

    python -m bench.serve.strangers WHAT HOST HTTP_PORT GRPC_PORT BYTES

WHAT is ``bodies`` (2,000), ``streams`` (5 x 1,000), ``unfinished`` (both), each all but its last byte, sent
once and held; ``json`` or ``protobuf``: four clients that send one bomb of BYTES after the other. The
process runs until its standard input is closed, with the lowest priority: strangers bring processors of their
own. It speaks HTTP/2 by itself, as no client library leaves a message unfinished.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection

from bench.serve.load import post
from runtime.streaming.connection import MODEL

BODIES, CHANNELS, STREAMS = 2000, 5, 1000
BOMBERS = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
ACK, END_HEADERS, END_STREAM = 1, 4, 1
INITIAL_WINDOW, MAX_FRAME = 65_535, 16_384
INITIAL_WINDOW_SIZE = 4
"""Number of the setting."""


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def call_headers(host: str) -> bytes:
    """The headers of a call, uncompressed literals of HPACK."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": host, "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    texts = [[text.encode() for text in pair] for pair in headers.items()]
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in texts)


class Channel:
    """One HTTP/2 connection with calls whose messages never end."""

    def __init__(self, address: tuple[str, int], streams: int, size: int):
        self._socket = socket.create_connection(address)
        headers = call_headers(address[0])
        opened = [frame(HEADERS, END_HEADERS, 2 * n + 1, headers) for n in range(streams)]
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0) + b"".join(opened))
        self._left = dict.fromkeys(range(1, 2 * streams, 2), size + 4)  # of the prefix and all but one byte
        self._prefix = b"\0" + size.to_bytes(4, "big")
        self._whole, self._initial, self._window = size + 4, INITIAL_WINDOW, INITIAL_WINDOW
        self._credit: dict[int, int] = {}
        self._begun: set[int] = set()

    def run(self) -> None:
        """Send what the server's windows allow, until it hangs up."""
        buffer = b""
        with suppress(OSError), self._socket:
            while more := self._socket.recv(1 << 16):
                buffer += more
                while len(buffer) >= 9 and len(buffer) >= 9 + (size := int.from_bytes(buffer[:3], "big")):
                    stream = int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF
                    self._take(buffer[3], buffer[4], stream, buffer[9 : 9 + size])
                    buffer = buffer[9 + size :]
                self._send()

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for place in range(0, len(content), 6):
                if int.from_bytes(content[place : place + 2], "big") == INITIAL_WINDOW_SIZE:
                    self._initial = int.from_bytes(content[place + 2 : place + 6], "big")
            self._socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(frame(PING, ACK, 0, content))
        elif kind == WINDOW and stream == 0:
            self._window += int.from_bytes(content, "big")
        elif kind == WINDOW:
            self._credit[stream] = self._credit.get(stream, 0) + int.from_bytes(content, "big")
        elif kind == RESET or (kind == HEADERS and flags & END_STREAM):
            self._left.pop(stream, None)

    def _send(self) -> None:
        while self._send_round():
            pass

    def _send_round(self) -> bool:
        """Send at most a frame of each call; False where the windows allow none."""
        sent = False
        for stream, left in list(self._left.items()):
            allowed = self._initial + self._credit.get(stream, 0) - (self._whole - left)
            count = min(MAX_FRAME, left, allowed, self._window)
            if count > 0:
                begin = b"" if stream in self._begun else self._prefix
                self._begun.add(stream)
                self._socket.sendall(frame(DATA, 0, stream, begin.ljust(count, b"\n")[:count]))
                self._left[stream] -= count
                self._window -= count
                sent = True
        return sent


def open_streams(address: tuple[str, int], size: int) -> None:
    """Hold calls of one connection."""
    Channel(address, STREAMS, size).run()


def hold_bodies(address: tuple[str, int], size: int) -> None:
    """Hold connections that have sent all of a body but its last byte; the refused ones too."""
    part = post(b"", {"Content-Length": str(size)}) + b"[".ljust(size - 1)
    held = []
    for _ in range(BODIES):
        with suppress(OSError):
            held.append(socket.create_connection(address, timeout=5))
            held[-1].sendall(part)
    time.sleep(1e6)


def bomb(size: int) -> bytes:
    """JSON of empty objects."""
    return b'{"inputs": [' + b"{}," * ((size - 20) // 3) + b"{}]}"


def throw_json(address: tuple[str, int], size: int) -> None:
    """Send bombs of JSON, one after the other, until the process ends."""
    content = bomb(size)
    while True:
        with suppress(OSError, Exception):
            connection = HTTPConnection(*address, timeout=10)
            while True:
                connection.request("POST", f"/v2/models/{MODEL}/infer", content)
                connection.getresponse().read()


def throw_protobuf(address: tuple[str, int], size: int) -> None:
    """Send messages of empty inputs, one after the other, until the process ends."""
    import grpc

    options = [("grpc.use_local_subchannel_pool", 1)]
    call = grpc.insecure_channel("{}:{}".format(*address), options).unary_unary(
        "/inference.GRPCInferenceService/ModelInfer"
    )
    content = b"\x2a\x00" * (size // 2)
    while True:
        with suppress(grpc.RpcError):
            call(content, timeout=10)


def main(what: str, host: str, http_port: int, grpc_port: int, size: int) -> None:
    """Come, and stay until standard input is closed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 14), hard))
    os.nice(19)
    works: list[Callable[[], object]] = []
    if what in ("streams", "unfinished"):
        works += [partial(open_streams, (host, grpc_port), size // 3)] * CHANNELS
    if what in ("bodies", "unfinished"):
        works += [partial(hold_bodies, (host, http_port), size)]
    if what == "json":
        works = [partial(throw_json, (host, http_port), size)] * BOMBERS
    if what == "protobuf":
        works = [partial(throw_protobuf, (host, grpc_port), size)] * BOMBERS
    for work in works:
        threading.Thread(target=work, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
