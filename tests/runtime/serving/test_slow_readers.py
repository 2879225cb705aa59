"""Clients that ask and do not read: the server stops working for them, and for nobody else."""

from __future__ import annotations

import socket
import time

import pytest

from runtime.serving.metrics import Metrics
from tests.runtime.serving.running import Running
from tests.runtime.serving.test_service import body, post

ASKED = 300
ANSWER = 20_000


def test_what_is_not_read_is_not_made(
    server: Running, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[None] = []
    monkeypatch.setattr(Metrics, "text", lambda _: made.append(None) or bytes(ANSWER))  # type: ignore[func-returns-value]
    host, port = server.http.split(":")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(5)
        reader.connect((host, int(port)))
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * ASKED)
        before = -1
        while before != len(made):
            before = len(made)
            time.sleep(0.2)
        assert 0 < len(made) < ASKED / 4  # what the system's and the server's own buffers hold
        assert post(server, *body(packets["fp"]))[0] == 200
        answers = reader.makefile("rb")
        for _ in range(ASKED):  # and when it is read, the rest is made
            while (line := answers.readline()) != b"\r\n":
                assert line
            assert answers.read(ANSWER) == bytes(ANSWER)
    assert len(made) == ASKED
