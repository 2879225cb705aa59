"""One connection against servers that say too much, too little, too slowly, or to the wrong frame."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.client import IncompleteRead
from pathlib import Path

import pytest
import trustme

from runtime.errors import StreamError
from runtime.streaming.connection import MOST_BODY, Connection
from runtime.streaming.remote.address import Address
from runtime.streaming.remote.answers import Ended, Refused, ServerAnswer, TryAgain

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(talk: Talk, timeout: float = 5.0, scheme: str = "http", **pem: Path) -> Iterator[Address]:
    """A server that does the same with each connection, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(5.0)
                talk(client)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield Address.of(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", timeout, **pem)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def answer(identity: str) -> bytes:
    data = [{"name": "top_classes", "data": [1]}, {"name": "top_probabilities", "data": [0.5]}]
    return response(json.dumps({"id": identity, "outputs": data}).encode())


def says(*pieces: bytes) -> Talk:
    """Hear a request, and say something; until the client leaves."""

    def talk(client: socket.socket) -> None:
        while client.recv(1 << 16):
            for piece in pieces:
                client.sendall(piece)

    return talk


def raised(talk: Talk, kind: type[Exception], timeout: float = 5.0) -> Exception:
    with server(talk, timeout) as address:
        link = Connection(address)
        with pytest.raises(kind) as error:
            link.infer("a-1", b"packet")
        link.close()
    return error.value


def test_a_request_is_sent_in_one_piece() -> None:
    pieces: list[bytes] = []

    def hear(client: socket.socket) -> None:
        pieces.append(client.recv(1 << 16))

    raised(hear, ConnectionResetError)
    head, _, body = pieces[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/ratehold/infer HTTP/1.1") and body.endswith(b"packet")
    assert f"content-length: {len(body)}".encode() in head.lower()


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff" * 100 + b"\r\n\r\n",
        b"hello\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 60_000,
    ],
    ids=range(9),
)  # fmt: skip
def test_nonsense_is_asked_for_again_slowly(said: bytes) -> None:
    error = raised(says(said), TryAgain)
    assert isinstance(error, TryAgain) and error.odd and len(str(error)) < 400


def test_https_is_guessed() -> None:
    def alert(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(b"\x15\x03\x01\x00\x02\x02\x28")
        client.recv(1 << 16)  # neither a line end nor a close

    assert "https://" in str(raised(alert, TryAgain))
    assert "https://" in str(raised(lambda client: None, ConnectionResetError))


def test_an_answer_without_end_is_cut(tmp_path: Path) -> None:
    for length in (b"99999999999999", b"%d" % (MOST_BODY + 1)):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n"
        assert "more than" in str(raised(says(head, b" " * (MOST_BODY + 1)), TryAgain))
    head = b"HTTP/1.1 502 Bad\r\nContent-Length: 99999999\r\n\r\n"
    error = raised(says(head, b"<html>" * MOST_BODY), TryAgain)
    assert isinstance(error, TryAgain) and not error.odd  # a proxy's long page, and its status counts


def test_an_answer_without_end_takes_no_memory() -> None:
    def flood(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            client.sendall(bytes(1 << 20))

    tracemalloc.start()
    raised(flood, TryAgain)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_an_answer_that_drips_is_not_waited_for() -> None:
    def drip(client: socket.socket) -> None:
        client.recv(1 << 16)
        for byte in answer("a-1"):
            client.sendall(bytes([byte]))
            time.sleep(0.02)

    begin = time.monotonic()
    raised(drip, TimeoutError, timeout=0.3)
    assert 0.3 <= time.monotonic() - begin < 0.8


def test_an_answer_may_take_its_time() -> None:
    def slow(client: socket.socket) -> None:
        client.recv(1 << 16)
        time.sleep(0.5)
        client.sendall(answer("a-1"))

    with server(slow) as address:
        assert Connection(address).infer("a-1", b"") == ServerAnswer(
            {"top_classes": [1], "top_probabilities": [0.5]}
        )


def test_an_answer_that_is_cut_off_is_asked_for_again_soon() -> None:
    def cut(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(answer("a-1")[:-5])

    raised(cut, IncompleteRead)


def test_a_second_answer_is_not_taken_for_the_next_frames() -> None:
    """Neither one that names another frame, nor a refusal, which names none."""
    refusal = response(b'{"error": "no"}', b"400 Bad")

    def twice(client: socket.socket) -> None:
        asked = client.recv(1 << 16)
        identity = "a-1" if b'"a-1"' in asked else "a-2"
        client.sendall(answer(identity))
        time.sleep(0.05)
        client.sendall(refusal)
        client.recv(1 << 16)

    with server(twice) as address:
        link = Connection(address)
        assert link.infer("a-1", b"").tensors["top_classes"] == [1]
        time.sleep(0.15)
        assert link.infer("a-2", b"").tensors["top_classes"] == [1]
        link.close()


def test_a_kept_connection_is_used_again() -> None:
    accepted: list[int] = []

    def two(client: socket.socket) -> None:
        accepted.append(1)
        for identity in ("a-1", "a-2"):
            client.recv(1 << 16)
            client.sendall(answer(identity))

    with server(two) as address:
        link = Connection(address)
        for identity in ("a-1", "a-2"):
            link.infer(identity, b"")
        link.close()
    assert accepted == [1]


def test_the_end_of_the_client_ends_the_wait() -> None:
    ended = threading.Event()
    threading.Timer(0.05, ended.set).start()
    begin = time.monotonic()
    with server(lambda client: client.recv(1 << 16) and time.sleep(0.5)) as address, pytest.raises(Ended):
        Connection(address, ended=ended).infer("a-1", b"")
    assert time.monotonic() - begin < 1.0


def tls(certificate: trustme.LeafCert, *pieces: bytes) -> Talk:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return lambda client: says(*pieces)(context.wrap_socket(client, server_side=True))


def test_strangers_are_an_error_until_the_server_is_known(tmp_path: Path) -> None:
    ours, stranger, ca = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    ours.cert_pem.write_to_path(ca)
    certificates = [stranger, ours, stranger, ours]

    def talk(client: socket.socket) -> None:
        tls(certificates.pop(0).issue_cert("127.0.0.1"), answer("a-1"))(client)

    with server(talk, scheme="https", ca=ca) as address:
        link = Connection(address)
        with pytest.raises(StreamError, match="do not trust each other"):
            link.infer("a-1", b"")
        assert link.infer("a-1", b"").tensors["top_classes"] == [1]
        link.close()
        with pytest.raises(TryAgain) as error:  # somebody else has taken its place, for a while
            Connection(address).infer("a-1", b"")
        assert error.value.odd
        assert link.infer("a-1", b"").tensors["top_classes"] == [1]
        link.close()


def test_a_kept_connection_with_tls_is_used_again(tmp_path: Path) -> None:
    """TLS 1.3 tickets come after the handshake: they are no answer that nobody asked for."""
    authority, ca, accepted = trustme.CA(), tmp_path / "ca.pem", list[int]()
    authority.cert_pem.write_to_path(ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def talk(client: socket.socket) -> None:
        secure = context.wrap_socket(client, server_side=True)
        accepted.append(1)
        for identity in ("a-1", "a-2", "a-3"):
            secure.recv(1 << 16)
            secure.sendall(answer(identity))

    with server(talk, scheme="https", ca=ca) as address:
        link = Connection(address)
        for identity in ("a-1", "a-2", "a-3"):
            assert link.infer(identity, b"").tensors["top_classes"] == [1]
        link.close()
    assert accepted == [1]


@pytest.mark.parametrize("days", [-3, 3])
def test_a_certificate_of_another_time_is_asked_for_again(tmp_path: Path, days: int) -> None:
    now, ca = datetime.now(timezone.utc), tmp_path / "ca.pem"
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca)
    span = {"not_before": now + timedelta(days=days - 1), "not_after": now + timedelta(days=days + 1)}
    issued = authority.issue_cert("127.0.0.1", **span)
    with (
        server(tls(issued), scheme="https", ca=ca) as address,
        pytest.raises(TryAgain, match="clock") as error,
    ):
        Connection(address).infer("a-1", b"")
    assert error.value.odd


def test_https_to_a_server_without_tls(tmp_path: Path) -> None:
    said = b"HTTP/1.1 400 Bad\r\n\r\n"
    with (
        server(says(said), scheme="https") as address,
        pytest.raises(TryAgain, match="without TLS") as error,
    ):
        Connection(address).infer("a-1", b"")
    assert error.value.odd


def test_a_refusal() -> None:
    raised(says(response(b'{"error": "no packet"}', b"400 Bad Request")), Refused)
