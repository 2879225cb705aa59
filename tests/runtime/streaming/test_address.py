"""Addresses, and the way to a server that is slow, away, or in several places."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import StreamError
from runtime.streaming.remote import attempts as module
from runtime.streaming.remote.address import Address
from runtime.streaming.remote.answers import Ended
from runtime.streaming.remote.attempts import first_connected

NOT_YET = threading.Event()


def test_addresses() -> None:
    assert Address.of("edge", 1.0) == Address("edge", 8000, 1.0)
    assert Address.of("https://edge", 1.0).url == "https://edge:443"
    assert Address.of("https://edge:9/", 1.0).url == "https://edge:9"
    assert Address.of("[::1]:9", 1.0).url == "http://[::1]:9"
    assert Address.of("[fe80::1%25eth0]", 1.0).host == "fe80::1%eth0"
    assert Address.of("[fe80::1%eth0]", 1.0).name == "fe80::1"
    assert Address.of("tail_host.local", 1.0).host == "tail_host.local"
    assert Address.of("münchen.example", 1.0).host == "xn--mnchen-3ya.example"
    with pytest.raises(StreamError, match="need https://edge:8000"):
        Address.of("edge", 1.0, Path("ca.pem"))
    with pytest.raises(StreamError, match="PEM files"):
        Address.of("https://edge", 1.0, Path("no-such-ca.pem"))


@pytest.mark.parametrize(
    "wrong",
    [
        "", "ftp://edge", "edge:port", "http://edge/path", "edge:99999", "edge:0", "http://edge:0", "[::1",
        "::1", "a..b", "a" * 70, "http://" + "a" * 70, "http://ex\nample", "http://exa mple", "127.0.0.1 x",
        "edge\t", "edge?x=1", "https://edge#top", "edge/?x", "edge\x00", "http://", "a,b", "edge:80a",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(StreamError, match="a server is"):
        Address.of(wrong, 1.0)


def test_a_password_is_neither_dropped_nor_repeated() -> None:
    with pytest.raises(StreamError, match="not sent") as raised:
        Address.of("https://user:secret@edge", 1.0)
    assert "secret" not in str(raised.value)


def test_a_name_that_does_not_resolve_is_named() -> None:
    with pytest.raises(OSError, match=r"the name 256\.1\.1\.1 does not resolve"):
        Address.of("256.1.1.1", 1.0).resolve()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that lets no one in: its queue is full, and the system drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        filling = [socket.socket() for _ in range(4)]
        for client in filling:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server
        for client in filling:
            client.close()


def place(server: socket.socket) -> tuple[object, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", server.getsockname())


def test_a_server_that_returns_without_a_word_is_found_soon(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system alone would try again after a second."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)
    silent.settimeout(5.0)

    def let_in() -> None:
        time.sleep(0.15)
        for _ in range(3):
            silent.accept()[0].close()

    opener, begin = threading.Thread(target=let_in, daemon=True), time.monotonic()
    opener.start()
    first_connected([place(silent)], 30.0, NOT_YET)[0].close()
    assert 0.1 < time.monotonic() - begin < 0.8
    opener.join()


def test_connecting_takes_as_long_as_it_may_and_no_longer(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)
    begun: list[int] = []
    begin = module._Attempts._begin
    monkeypatch.setattr(module._Attempts, "_begin", lambda self, n: begun.append(n) or begin(self, n))  # type: ignore[func-returns-value]
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
        first_connected([place(silent)], 0.3, NOT_YET)
    assert 0.3 <= time.monotonic() - start < 0.6 and 3 <= len(begun) <= 7


def test_the_first_attempt_goes_on_beside_its_probes(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise no link whose round trip is longer than a probe would ever connect."""
    dropped: list[socket.socket] = []
    drop = module._Attempts._drop
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.03)
    opened: list[socket.socket] = []
    begin = module._Attempts._begin

    def note(self: module._Attempts, number: int) -> socket.socket | None:
        attempt = begin(self, number)
        assert attempt is not None
        opened.append(attempt)
        return attempt

    monkeypatch.setattr(module._Attempts, "_begin", note)
    monkeypatch.setattr(
        module._Attempts, "_drop", lambda self, key: (dropped.append(key.fileobj), drop(self, key))
    )
    with pytest.raises(TimeoutError):
        first_connected([place(silent)], 0.2, NOT_YET)
    assert len(opened) >= 4 and dropped.index(opened[0]) >= len(opened) - 2


def test_every_address_of_a_name_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = place(gone)
    with socket.create_server(("127.0.0.1", 0)) as server:
        first_connected([refusing, place(server)], 5.0, NOT_YET)[0].close()
    unreachable = (12345, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    with pytest.raises(ConnectionRefusedError):
        first_connected([unreachable, refusing], 5.0, NOT_YET)


def test_an_address_that_is_silent_does_not_hold_up_the_next(silent: socket.socket) -> None:
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        first_connected([place(silent), place(server)], 5.0, NOT_YET)[0].close()
    assert time.monotonic() - begin < 0.9


def test_the_end_of_the_client_ends_the_attempt(silent: socket.socket) -> None:
    ended = threading.Event()
    threading.Timer(0.05, ended.set).start()
    begin = time.monotonic()
    with pytest.raises(Ended):
        first_connected([place(silent)], 30.0, ended)
    assert time.monotonic() - begin < 0.8
