"""Several servers: which is asked next, and what of it a frame notices."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import StreamError
from runtime.streaming.connection import Connection
from runtime.streaming.remote import attempts
from runtime.streaming.remote import fleet as module
from runtime.streaming.remote.address import Address
from runtime.streaming.remote.answers import Elsewhere, Ended, Refused, TryAgain
from runtime.streaming.remote.fleet import Fleet, Place
from runtime.streaming.sender import Sender
from tests.runtime.streaming.test_connection import Talk, answer, response, says, server

NOT_YET = threading.Event()
RECORDS = [f"127.0.0.{last}" for last in range(2, 6)]


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is: the next server is tried when the one before it has failed."""
    monkeypatch.setattr(attempts, "STAGGER_SECONDS", 10.0)


def refuses() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return Address("127.0.0.1", gone.getsockname()[1], 5.0)


@contextlib.contextmanager
def fleet(*talks: Talk | None) -> Iterator[Fleet]:
    """Servers in order; None is one that is away."""
    with contextlib.ExitStack() as stack:
        yield Fleet([stack.enter_context(server(talk)) if talk else refuses() for talk in talks])


def asked(*said: bytes, note: list[int], number: int = 0) -> Talk:
    """A server that notes each request, and says the next of ``said``; the last for ever."""
    left = list(said)

    def talk(client: socket.socket) -> None:
        while client.recv(1 << 16):
            note.append(number)
            client.sendall(left.pop(0) if len(left) > 1 else left[0])

    return talk


def reaches(servers: Fleet) -> int:
    """The number of the server to which a new connection leads."""
    connection, place = servers.connect(NOT_YET)
    connection.close()
    return servers.addresses.index(place.address)


def test_addresses_come_in_order_and_once() -> None:
    servers = Fleet.of("edge, https://edge:9,edge:8000 ,[::1]", 1.0)
    assert servers.url == "http://edge:8000,https://edge:9,http://[::1]:8000"
    assert Fleet.of(servers.url, 1.0).addresses[0] == Address.of("edge", 1.0)
    for wrong in ("", "a,,b", "a,", "a,ftp://b", ",".join(f"a{n}" for n in range(200))):
        with pytest.raises(StreamError):
            Fleet.of(wrong, 1.0)
    with pytest.raises(StreamError, match="certificates need https://a:8000"):
        Fleet.of("a,https://b", 1.0, Path("ca.pem"))


def test_a_server_that_is_away_is_passed_over_and_the_next_is_kept() -> None:
    """The first one is not gone back to while the second works."""
    with fleet(None, says(answer("a-1")), says(answer("a-1"))) as servers:
        for _ in range(3):
            assert reaches(servers) == 1
        with socket.create_server(("127.0.0.1", servers.addresses[0].port)):
            assert reaches(servers) == 1


def test_when_all_are_away_it_is_an_error_and_who_returns_is_found() -> None:
    with fleet(None, None, None) as servers:
        with pytest.raises(ConnectionRefusedError):
            servers.connect(NOT_YET)
        with socket.create_server(("127.0.0.1", servers.addresses[2].port)):
            assert reaches(servers) == 2


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n",
     response(b'{"error": "full"}', b"503 Service Unavailable\r\nRetry-After: 9"),
     response(b'{"error": "failed"}', b"500 Internal"), answer("a-1")[:-3]],
    ids=["hangs up", "login page", "nonsense", "full", "failed", "cut off"],
)  # fmt: skip
def test_a_server_without_an_answer_is_left_and_the_next_is_asked_at_once(said: bytes) -> None:
    def once(client: socket.socket) -> None:
        client.recv(1 << 16)
        client.sendall(said)

    note: list[int] = []
    with fleet(once, asked(answer("a-1"), note=note)) as servers:
        pauses: list[float] = []
        told: list[str] = []
        with contextlib.closing(Connection(servers)) as link:
            sender = Sender(link, told.append, pauses.append)
            assert sender.send("a-1", b"x").attempts == 2 and not pauses and note == [0]
            assert sender.send("a-1", b"x").attempts == 1  # it is kept
        assert told[0].startswith(servers.addresses[0].url) and told[0].endswith("another server is asked")


def test_a_server_that_says_nothing_costs_one_time_out() -> None:
    done = threading.Event()
    with fleet(lambda client: client.recv(1 << 16) and done.wait(5), says(answer("a-1"))) as servers:
        servers.timeout = 0.2
        begin = time.monotonic()
        with contextlib.closing(Connection(servers)) as link:
            assert Sender(link, pause=lambda _: None).send("a-1", b"").attempts == 2
        assert 0.2 <= time.monotonic() - begin < 4.0
        done.set()


def test_a_refused_frame_is_given_up_by_all() -> None:
    """Another server would say the same: only the protocol's own word is final, and it is."""
    note: list[int] = []
    no = response(b'{"error": "no packet"}', b"400 Bad Request")
    two = fleet(asked(no, note=note), asked(answer("a-1"), note=note, number=1))
    with two as servers, contextlib.closing(Connection(servers)) as link, pytest.raises(Refused):
        Sender(link).send("a-1", b"")
    assert note == [0]


def test_when_all_are_full_the_first_to_be_free_says_how_long() -> None:
    def full(seconds: int) -> bytes:
        return response(b'{"error": "full"}', f"503 Full\r\nRetry-After: {seconds}".encode())

    with fleet(says(full(2)), says(full(40))) as servers, contextlib.closing(Connection(servers)) as link:
        with pytest.raises(Elsewhere):
            link.infer("a-1", b"")
        with pytest.raises(TryAgain) as raised:
            link.infer("a-1", b"")
        assert (
            raised.value.seconds is not None and 1.5 <= raised.value.seconds <= 2.0 and not raised.value.odd
        )
        with pytest.raises(TryAgain):  # nobody else is due: the first one is asked again
            link.infer("a-1", b"")


@pytest.mark.parametrize("away_before", [True, False])
def test_a_full_server_keeps_its_own_pause_where_the_others_are_away(away_before: bool) -> None:
    note: list[int] = []
    talk = asked(response(b'{"error": "full"}', b"503 Full\r\nRetry-After: 1"), answer("a-1"), note=note)
    with fleet(*((None, talk) if away_before else (talk, None))) as servers:
        begin = time.monotonic()
        with contextlib.closing(Connection(servers)) as link:
            assert Sender(link).send("a-1", b"").answer.tensors["top_classes"] == [1]
        assert len(note) == 2 and time.monotonic() - begin >= 1.0


def place(servers: Fleet, number: int) -> Place:
    return next(known for known in servers._known if known.address == servers.addresses[number])


def test_failures_double_the_pause_of_a_server_and_an_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.random, "uniform", lambda _, most: most)
    clock = [100.0]
    with fleet(says(answer("a-1")), says(answer("a-1"))) as servers:
        reaches(servers)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        first, second = place(servers, 0), place(servers, 1)
        assert servers.failed(second) == 0.0  # the first is due
        for slow, longest in ((False, module.MOST_SECONDS), (True, module.SLOW_SECONDS)):
            servers.answered(first)
            for number in range(14):
                servers.failed(second, asked=50.0)
                wait = servers.failed(first, slow)
                assert wait == pytest.approx(min(module.FIRST_SECONDS * 2**number, longest), abs=1e-6)
                assert servers.failed(first, slow) == wait  # a connection of before: the same failure
                clock[0] += wait or 0.0
        servers.answered(first)
        assert servers.failed(first) == pytest.approx(module.FIRST_SECONDS)
        servers.failed(second, asked=49.0)
        assert servers.failed(first, asked=1e9) == pytest.approx(49.0)  # when the second is due
        servers.failed(second, asked=1e9)
        assert servers.failed(first, asked=0.0) == pytest.approx(module.ASKED_SECONDS)


def test_a_server_that_failed_is_passed_over_until_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    with fleet(says(answer("a-1")), says(answer("a-1"))) as servers:
        assert reaches(servers) == 0
        servers.failed(place(servers, 0), asked=0.3)
        assert reaches(servers) == 1
        servers.failed(place(servers, 1), asked=20.0)
        assert reaches(servers) == 0  # nobody is due: the one that will be first
        servers.answered(place(servers, 1))
        assert reaches(servers) == 1


def test_silent_servers_do_not_hide_one_that_has_just_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart takes a second; two others are switched off and would take the whole time-out."""
    monkeypatch.setattr(attempts, "STAGGER_SECONDS", 0.05)
    monkeypatch.setattr(attempts, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        filling = [socket.socket() for _ in range(4)]
        for client in filling:
            client.setblocking(False)
            client.connect_ex(silent.getsockname())
        away = Address("127.0.0.1", silent.getsockname()[1], 30.0)
        gone = refuses()
        servers = Fleet([away, gone])
        opened: list[socket.socket] = []
        timer = threading.Timer(0.4, lambda: opened.append(socket.create_server(("127.0.0.1", gone.port))))
        timer.start()
        begin = time.monotonic()
        assert reaches(servers) == 1
        assert 0.3 < time.monotonic() - begin < 10.0
        timer.join()
        for client in [*filling, *opened]:
            client.close()


def named(monkeypatch: pytest.MonkeyPatch, records: list[str], name: str = "tail.example") -> None:
    """A name has these addresses."""
    known = socket.getaddrinfo

    def resolve(host: str, port: int, *more: Any, **kinds: Any) -> list[Any]:
        if host == name:
            if not records:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (record, port)) for record in records]
        return known(host, port, *more, **kinds)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_the_records_of_a_name_are_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lets us in and fails; only the other answers."""
    named(monkeypatch, RECORDS)
    seen: list[str] = []
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        port = listener.getsockname()[1]

        def work() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, contextlib.suppress(OSError):
                    head = client.recv(1 << 16)
                    seen.append(client.getsockname()[0])
                    assert f"Host: tail.example:{port}".encode() in head
                    if seen[-1] == RECORDS[2]:
                        client.sendall(answer("a-1"))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        told: list[str] = []
        servers = Fleet.of(f"tail.example:{port}", 5.0)
        with contextlib.closing(Connection(servers)) as link:
            delivery = Sender(link, told.append, lambda _: None).send("a-1", b"")
        assert seen[-1] == RECORDS[2] and delivery.attempts == len(seen) == len(set(seen)) <= 4
        assert [line.split()[1] for line in told] == [f"({record})" + ":" for record in seen[:-1]]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_clients_spread_over_the_records_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a client keeps to the order that it has drawn, and families to that of the system."""
    named(monkeypatch, RECORDS)
    monkeypatch.setattr(module, "first_connected", lambda *_: (None, 0))
    taken = set()
    for _ in range(60):
        servers = Fleet.of("tail.example,127.0.0.1", 5.0)
        first, again = (servers.connect(NOT_YET)[1] for _ in range(2))
        assert first == again and servers._places(NOT_YET)[-1].address == servers.addresses[1]
        taken.add(first.record[4][0])
    assert taken == set(RECORDS)  # one is left out once in a million times


def test_a_name_is_asked_for_anew_and_its_failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[str] = []
    named(monkeypatch, records)
    with socket.create_server(("0.0.0.0", 0)) as listener:
        servers = Fleet.of(f"tail.example:{listener.getsockname()[1]}", 5.0)
        with pytest.raises(OSError, match=r"tail\.example does not resolve"):
            servers.connect(NOT_YET)
        for record in RECORDS:
            records[:] = [record]
            connection, found = servers.connect(NOT_YET)
            connection.close()
            assert found.record[4][0] == record
            assert servers.failed(found) is None and servers.alone


def test_a_name_server_that_is_away_for_one_name_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    held, known = threading.Event(), socket.getaddrinfo

    def resolve(host: str, *more: Any, **kinds: Any) -> Any:
        if host == "slow.example":
            held.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return known(host, *more, **kinds)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(module, "STAGGER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        servers = Fleet.of(f"slow.example,127.0.0.1:{listener.getsockname()[1]}", 5.0)
        begin = time.monotonic()
        for _ in range(3):
            assert reaches(servers) == 1
        assert time.monotonic() - begin < 20.0
        threads = [thread for thread in threading.enumerate() if thread.name == "resolve"]
        assert len([thread for thread in threads if thread.is_alive()]) == 1  # not one for each attempt
    only = Fleet.of("slow.example", 5.0)
    ended = threading.Event()
    threading.Timer(0.05, ended.set).start()
    with pytest.raises(Ended):
        only.connect(ended)
    held.set()


def test_a_move_is_told() -> None:
    with fleet(says(answer("a-1")), says(answer("a-1"))) as servers:
        moves: list[int] = []
        servers.moved = lambda: moves.append(1)
        reaches(servers)
        reaches(servers)
        assert not moves
        servers.failed(place(servers, 0))
        assert reaches(servers) == 1 and moves == [1]


def test_distrust_is_final_only_where_nobody_is_left() -> None:
    with fleet(says(answer("a-1")), says(answer("a-1"))) as servers:
        first, second = servers.addresses
        assert not servers.distrusts(first) and not servers.distrusts(first) and servers.distrusts(second)
        second.known.set()
        assert not servers.distrusts(second) and not servers.distrusts(first)
