"""One case for each status that says nothing about the frame: it is tried again, on the same connection."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from runtime.streaming.connection import Address, Connection, Refused, TryAgain

ANSWER = json.dumps(
    {
        "model_name": "ratehold",
        "id": "a-1",
        "outputs": [
            {"name": "top_classes", "datatype": "INT64", "shape": [1, 2], "data": [7, 2]},
            {"name": "top_probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.75, 0.25]},
        ],
    }
).encode()


def reply(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class OneClient:
    """Answers the requests of one connection with these replies, in order."""

    def __init__(self, *replies: bytes):
        self._replies = replies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Connection:
        self.thread.start()
        return Connection(Address("127.0.0.1", self._listener.getsockname()[1], 5.0))

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.thread.join(5)

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.settimeout(5)
            for said in self._replies:
                if not client.recv(1 << 16):
                    return
                self.requests += 1
                client.sendall(said)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
@pytest.mark.parametrize("later", [None, 3])
def test_a_status_about_the_server_is_tried_again(status: int, later: int | None) -> None:
    headers = () if later is None else (f"Retry-After: {later}",)
    server = OneClient(reply(status, b'{"error": "not now"}', *headers), reply(200, ANSWER))
    with server as link:
        with pytest.raises(TryAgain, match=f"{status} not now") as raised:
            link.infer("a-1", b"packet")
        assert raised.value.seconds == later
        answer = link.infer("a-1", b"packet")
        assert answer.tensors == {"top_classes": [7, 2], "top_probabilities": [0.75, 0.25]}
        link.close()
    assert server.requests == 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_status_about_the_frame_ends_it(status: int) -> None:
    with OneClient(reply(status, b'{"error": "no such packet"}')) as link:
        with pytest.raises(Refused, match=f"{status} no such packet"):
            link.infer("a-1", b"packet")
        link.close()
