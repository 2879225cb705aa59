"""Repetition, back-off, and what is not worth repeating."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from runtime.errors import StreamError
from runtime.streaming import connection
from runtime.streaming.connection import CONNECT_SECONDS, Address, Connection, Refused, ServerAnswer, TryAgain
from runtime.streaming.sender import FIRST_SECONDS, MOST_SECONDS, Delivery, Sender

ANSWER = ServerAnswer((1,), (1.0,))


class Script:
    """A link that fails as it is told, and then answers."""

    def __init__(self, *failures: Exception):
        self.failures, self.sent, self.closed = list(failures), [], 0  # type: ignore[var-annotated]

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        self.sent.append((identity, packet))
        if self.failures:
            raise self.failures.pop(0)
        return ANSWER

    def close(self) -> None:
        self.closed += 1


def test_a_frame_is_sent_under_one_id_until_it_is_answered() -> None:
    link = Script(ConnectionRefusedError(), TimeoutError(), TryAgain("503", None))
    pauses: list[float] = []
    told: list[str] = []
    assert Sender(link, told.append, pauses.append).send("a-1", b"x") == Delivery(ANSWER, 4)
    assert link.sent == [("a-1", b"x")] * 4 and link.closed == 2 and len(pauses) == len(told) == 3


def test_pauses_double_up_to_the_longest() -> None:
    pauses: list[float] = []
    Sender(Script(*[OSError()] * 12), pause=pauses.append).send("a", b"")
    for number, pause in enumerate(pauses):
        longest = min(FIRST_SECONDS * 2**number, MOST_SECONDS)
        assert longest / 2 <= pause <= longest


def test_the_servers_own_pause_is_kept() -> None:
    pauses: list[float] = []
    Sender(Script(TryAgain("503 try later", 7.0)), pause=pauses.append).send("a", b"")
    assert 7.0 <= pauses[0] <= 8.4


def test_a_request_is_sent_in_one_piece() -> None:
    pieces: list[bytes] = []

    def hear(listener: socket.socket) -> None:
        server, _ = listener.accept()
        with server:
            pieces.append(server.recv(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=hear, args=(listener,))
        server.start()
        with pytest.raises(OSError):
            Connection(Address("127.0.0.1", listener.getsockname()[1], 5.0)).infer("a-1", b"packet" * 400)
        server.join(10)
    head, _, body = pieces[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/ratehold/infer HTTP/1.1") and body.endswith(b"packet" * 400)
    assert f"content-length: {len(body)}".encode() in head.lower()


def test_a_refused_frame_is_not_repeated() -> None:
    link = Script(Refused("400 no packet"))
    with pytest.raises(Refused):
        Sender(link).send("a", b"")
    assert len(link.sent) == 1


def test_strangers_are_given_up() -> None:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    with pytest.raises(StreamError, match="do not trust"):
        Sender(Script(error)).send("a", b"")
    cut_off = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    cut_off.reason = "UNEXPECTED_EOF_WHILE_READING"
    assert Sender(Script(cut_off), pause=lambda _: None).send("a", b"") == Delivery(ANSWER, 2)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (b"HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n", TryAgain),
        (b"HTTP/1.1 504 x\r\nContent-Length: 0\r\n\r\n", TryAgain),
        (b'HTTP/1.1 400 x\r\nContent-Length: 15\r\n\r\n{"error": "no"}', Refused),
        (b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", Refused),
    ],
)
def test_statuses(said: bytes, raised: type[Exception]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        link = Connection(Address.of(f"127.0.0.1:{listener.getsockname()[1]}", 5.0))
        with pytest.raises(raised) as error:
            link.infer("a", b"x")
        link.close()
        thread.join(5)
    if isinstance(error.value, TryAgain):
        assert error.value.seconds == (2.0 if b"Retry-After" in said else None)


def test_a_server_that_is_away_without_a_word_is_asked_again_soon() -> None:
    with socket.create_server(
        ("127.0.0.1", 0), backlog=0
    ) as silent:  # accepts one, drops the packets of others
        port = silent.getsockname()[1]
        filling = [socket.socket() for _ in range(4)]
        for client in filling:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        link, begin = Connection(Address("127.0.0.1", port, 30.0)), time.monotonic()
        with pytest.raises(TimeoutError):
            link.infer("a", b"x")
        assert time.monotonic() - begin < 5 * CONNECT_SECONDS
        for client in filling:
            client.close()


def test_answers_may_take_longer_than_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1 << 16)
                time.sleep(0.2)
                client.sendall(b"HTTP/1.1 503 later\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        link = Connection(Address("127.0.0.1", listener.getsockname()[1], 5.0))
        with pytest.raises(TryAgain):
            link.infer("a", b"x")
        link.close()
        thread.join(5)


def test_addresses() -> None:
    assert Address.of("edge", 1.0) == Address("edge", 8000, 1.0)
    assert Address.of("[::1]:9", 1.0).url == "http://[::1]:9"
    assert Address.of("https://edge:9", 1.0).url == "https://edge:9"
    for wrong in ("", "ftp://edge", "edge:port", "http://edge/path", "edge:99999"):
        with pytest.raises(StreamError):
            Address.of(wrong, 1.0)
    with pytest.raises(StreamError, match="need https://edge:8000"):
        Address.of("edge", 1.0, Path("ca.pem"))
    with pytest.raises(StreamError, match="PEM files"):
        Address.of("https://edge", 1.0, Path("no-such-ca.pem"))
