"""What strangers may take up: connections, bytes and messages in reception, fields, JSON, hosts."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http.client import HTTPSConnection
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as theirs

from runtime.dashboard.hosts import from_this_machine
from runtime.errors import Crowded, RequestError, TooSlow
from runtime.serving import grpc_front, http_front, server
from runtime.serving.intake import connections, heap, json_request, message_bounds
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE, packed_octets, parse_message
from runtime.serving.intake.json_request import octets_of, without_numbers
from runtime.serving.intake.message_bounds import check
from runtime.serving.intake.reception import Reception
from runtime.serving.options import Certificates
from runtime.serving.protocol import checked
from runtime.tasks.classification import Classification
from tests.runtime.serving.running import Running, Start
from tests.runtime.serving.test_hostile import assert_alive, connect, read_all, request
from tests.runtime.serving.test_service import body, post, until
from tests.runtime.serving.test_tls import Authority, authorities

__all__ = ["authorities"]


def taking(size: int, end: bool = True) -> Callable[[], Coroutine[Any, Any, bytes]]:
    """A request of so many bytes that comes in two parts, or never ends."""

    async def read() -> bytes:
        await asyncio.sleep(0.001 if end else 60)
        return bytes(size)

    return read


def test_the_largest_request_gives_way_and_small_ones_stay() -> None:
    async def receive() -> list[Any]:
        reception = Reception(100, patience=60)
        large = asyncio.ensure_future(reception.receive(taking(60, end=False), 60, 5))
        await asyncio.sleep(0.01)
        others = [reception.receive(taking(10), 10, 5) for _ in range(6)]
        found = await asyncio.gather(large, *others, return_exceptions=True)
        assert reception.held == len(reception) == 0
        return found

    first, *others = asyncio.run(receive())
    assert isinstance(first, Crowded) and others == [bytes(10)] * 6


@pytest.mark.parametrize(("patience", "turned_away"), [(0.0, 0), (60.0, 2)])
def test_among_equals_the_oldest_gives_way_or_the_newcomer(patience: float, turned_away: int) -> None:
    async def receive() -> list[Any]:
        reception = Reception(100, patience)
        tasks = [asyncio.ensure_future(reception.receive(taking(50, False), 50, 0.2)) for _ in range(3)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = [type(one) for one in asyncio.run(receive())]
    assert found.count(TooSlow) == 2 and found[turned_away] == Crowded


def test_what_a_reader_raises_is_raised() -> None:
    async def broken() -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(Reception(1).receive(broken, 1, 1))


def test_unfinished_bodies_have_a_total(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_front, "RECEPTION_BYTES", 0)  # twice the largest body
    running = start(timeout=5.0)
    most = json_request.MAX_JSON + http_front.JSON_BYTES_PER_OCTET * running.server.service.models.max_packet
    part = request(b"", {"Content-Length": str(most)}) + b"[" + b" " * (most - 2)
    strangers = [connect(running) for _ in range(8)]
    for stranger in strangers:
        with suppress(TimeoutError):  # who is turned away is not read
            stranger.sendall(part)
    begin = time.monotonic()
    assert_alive(running, packets)
    assert time.monotonic() - begin < 2
    counted = {"protocol": "http", "kind": "Crowded"}
    until(lambda: running.metric("ratehold_errors_total", **counted) >= 6)
    answer = read_all(strangers[-1])
    assert b"503" in answer[:20] and b"Retry-After" in answer
    for stranger in strangers:
        stranger.close()


def test_unfinished_messages_have_a_total(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_front, "RECEPTION_BYTES", 0)  # twice the largest message
    running = start(timeout=0.5)

    async def call(stream: Any) -> tuple[str, str]:
        try:
            await stream
            return "OK", ""
        except grpc.aio.AioRpcError as error:
            return error.code().name, dict(error.trailing_metadata()).get("retry-after", "")

    async def ask() -> list[tuple[str, str]]:
        async with grpc.aio.insecure_channel(running.grpc) as channel:
            method = channel.stream_unary(f"/{SERVICE}/ModelInfer")
            silent = [method() for _ in range(6)]  # headers, and never a message
            found = asyncio.gather(*(call(stream) for stream in silent))
            await asyncio.sleep(0.1)
            right = infer_message(packets["fp"])
            assert await channel.unary_unary(f"/{SERVICE}/ModelInfer")(right, timeout=5)
            return await found

    found = asyncio.run(ask())
    assert found.count(("RESOURCE_EXHAUSTED", "1")) == 5 and found.count(("DEADLINE_EXCEEDED", "")) == 1


def infer_message(packet: bytes, **changed: Any) -> bytes:
    entry = {"name": "packet", "datatype": "UINT8", "shape": [len(packet)]}
    right = {"model_name": "ratehold", "inputs": [entry], "raw_input_contents": [packet]}
    message: bytes = MESSAGES["ModelInferRequest"](**(right | changed)).SerializeToString()
    return message


def test_connections_stay_below_their_limit_and_the_silent_give_way(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connection_limit", lambda: 5)
    running = start()
    idle = [connect(running) for _ in range(20)]
    half = [connect(running) for _ in range(3)]
    for stranger in half:
        stranger.sendall(b"POST /v2/models/ratehold/infer HTTP/1.1\r\n")
    until(lambda: len(running.server._connections) == 5)
    for _ in range(3):
        assert_alive(running, packets)
    idle += [connect(running) for _ in range(8)]
    assert read_all(idle[0]) == b""
    assert b"503" in read_all(half[0])[:20]
    assert running.metric("ratehold_refused_connections_total", kind="TooManyConnections") >= 20
    for stranger in idle + half:
        stranger.close()


def test_the_limit_of_connections_is_below_that_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((80, range(4, 33)), (1 << 20, range(1024, 1025))):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert connections.connection_limit() in expected


def test_headers_that_do_not_end_are_timed_out(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.05)
    running = start(timeout=0.2)
    with connect(running) as stranger:
        stranger.sendall(b"GET /v2 HTTP/1.1\r\nHost: loc")
        assert b"503" in read_all(stranger)[:20]
    assert running.metric("ratehold_refused_connections_total", kind="TooSlow") == 1


def test_malformed_requests_are_counted(start: Start) -> None:
    running = start()
    with connect(running) as stranger:
        stranger.sendall(b"\x16\x03\x01 " + b"x" * 3000 + b"\r\n\r\n")
        answer = read_all(stranger)
    assert b" 400 Bad Request" in answer[:30] and b'{"error"' in answer and len(answer) < 1000
    assert running.metric("ratehold_refused_connections_total", kind="BadStatusLine") + running.metric(
        "ratehold_refused_connections_total", kind="BadHttpMethod"
    )


BOMBS = {
    "empty objects": b'{"inputs": [' + b"{}," * 300_000 + b"{}]}",
    "empty lists": b"[" + b"[]," * 300_000 + b"[]]",
    "members": b'{"parameters": {' + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}}",
    "data of objects": b'{"inputs": [{"data": [' + b"{}," * 300_000 + b"{}]}]}",
    "data of lists": b'{"inputs": [{"data": [' + b"[]," * 300_000 + b"[]]}]}",
    "a long number": b'{"inputs": [{"data": [' + b"1" * 900_000 + b"]}]}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_json_are_refused_before_they_are_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = json_request._parse

    def bounded(text: bytes) -> Any:
        assert len(text) <= json_request.MAX_JSON + 2
        return parse(text)

    monkeypatch.setattr(json_request, "_parse", bounded)
    with pytest.raises(RequestError):
        asyncio.run(json_request.parsed(BOMBS[name], None, "ratehold"))


@pytest.mark.parametrize("around", ["{}", "[{}]", "[[{}]]"])
def test_long_data_is_read_in_pieces_and_between_them_others_have_their_turn(around: str) -> None:
    packet = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    data = around.format(json.dumps(list(packet)))
    text = f'{{"id": 7, "inputs": [{{"data": {data}, "name": "packet", "datatype": "UINT8", '
    text += f'"shape": [{len(packet)}]}}]}}'
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> Any:
        counting = asyncio.ensure_future(count())
        found = await json_request.parsed(text.encode(), None, "ratehold")
        counting.cancel()
        return found

    found = asyncio.run(read())
    assert found.request.packet == packet and found.request.identity == "7" and turns > 20


@pytest.mark.parametrize(
    "numbers", [b"[1,2", b"1,2]", b"[[1],2]", b"[1,,2]", b"[1 2]", b"[,1]", b"[256]", b"[1],[2]", b"[1,]"]
)
def test_lists_of_numbers_that_are_none(numbers: bytes) -> None:
    with pytest.raises(RequestError):
        b"".join(octets_of(numbers))


def test_only_the_numbers_after_data_are_cut_out() -> None:
    short = b'{"data": [1, 2]}'
    assert without_numbers(short) == (short, None)
    text = b'{"id": "\\"data\\": [3", "inputs": [{"data" : [' + b"1, " * 9000 + b'1] , "shape": [2]}]}'
    rest, numbers = without_numbers(text)
    assert json.loads(rest) == {"id": '"data": [3', "inputs": [{"data": None, "shape": [2]}]}
    assert json.loads(numbers or b"") == [1] * 9001


def field(number: int, content: bytes) -> bytes:
    length = len(content)
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *prefix, length]) + content


MESSAGE_BOMBS = {
    "inputs": field(5, b"") * 200_000,
    "outputs": field(6, b"") * 200_000,
    "parameters of an input": field(5, field(4, b"") * 100_000),
    "shape": field(5, field(3, b"\1" * 300_000)),
    "unpacked octets": field(5, field(5, b"\x20\x01" * 100_000)),
    "raw contents": field(7, b"") * 200_000,
    "a name": field(1, b"x" * 300_000),
    "unknown": field(15, b"x" * 300_000),
    "a group": b"\x2b" * 1000,
    "no end": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    "beyond the end": b"\x3a\x7f",
}


@pytest.mark.parametrize("name", MESSAGE_BOMBS)
def test_bombs_of_protobuf_are_refused_before_they_are_parsed(name: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(RequestError):
        check(MESSAGE_BOMBS[name])
    assert time.perf_counter() - begin < 0.05


def test_a_large_packet_is_no_bomb() -> None:
    packet = bytes(200_000)
    check(infer_message(packet))
    entry = {"name": "packet", "datatype": "UINT8", "shape": [len(packet)]}
    octets = entry | {"contents": {"uint_contents": [packet]}}
    check(infer_message(packet, inputs=[octets], raw_input_contents=[]))
    text = entry | {"datatype": "BYTES", "contents": {"bytes_contents": [packet]}}
    check(infer_message(packet, inputs=[text], raw_input_contents=[]))
    assert len(packet) > message_bounds.MAX_BYTES


LOCAL = ("localhost", "localhost:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:8000", "LOCALHOST", "a.localhost")
FOREIGN = (
    None,
    "",
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.io",
    "10.0.0.1",
)


@pytest.mark.parametrize("host", LOCAL)
def test_names_of_this_machine(host: str) -> None:
    assert from_this_machine(host, None) and from_this_machine(host, f"http://{host}")


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names(host: str | None) -> None:
    assert not from_this_machine(host, None)
    assert host is None or not from_this_machine("localhost", f"https://{host}")
    assert not from_this_machine("localhost", "null")


@pytest.mark.parametrize("path", ["/v2", "/metrics", "/dashboard/state.json", "/nope"])
def test_on_loopback_a_foreign_host_or_origin_is_refused(start: Start, path: str) -> None:
    running = start(dashboard=True)
    for headers in ("Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example"):
        with connect(running) as stranger:
            stranger.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
            assert read_all(stranger).startswith(b"HTTP/1.1 403")
    assert running.metric("ratehold_errors_total", protocol="http", kind="ForeignHost") == 2


def test_beyond_loopback_any_host_will_do(start: Start, packets: dict[str, bytes]) -> None:
    running = start(host="0.0.0.0", insecure=True)
    content, headers = body(packets["fp"])
    assert post(running, content, headers | {"Host": "camera.example"})[0] == 200


def test_an_address_with_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 7))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_server", lambda at, **_: asked.append(at) or socket.socket())
    server._listen("fe80::1%eth0", 0).close()
    assert asked == [("fe80::1", 0, 0, 7)]  # with the number of the interface
    assert server._bracketed("fe80::1%eth0") == "[fe80::1%25eth0]"


@pytest.mark.parametrize("values", [[], [0], [255], [127, 128, 0, 255, 1], list(range(256)) * 3])
def test_octets_of_a_message(values: list[int]) -> None:
    contents = theirs.InferTensorContents(uint_contents=values).SerializeToString()
    wire = MESSAGES["InferTensorContents"].FromString(contents).uint_contents
    assert b"".join(map(packed_octets, wire)) == bytes(values)


@pytest.mark.parametrize("values", [[256], [1, 1 << 14], [(1 << 32) - 1, 0], [128 + (2 << 7)]])
def test_numbers_of_a_message_that_are_no_octets(values: list[int]) -> None:
    contents = theirs.InferTensorContents(uint_contents=values).SerializeToString()
    (wire,) = MESSAGES["InferTensorContents"].FromString(contents).uint_contents
    with pytest.raises(ValueError):
        packed_octets(wire)


@pytest.mark.parametrize("wire", [b"\x80", b"\1\xff", b"\x81\0", b"\x80\x81\1"])
def test_numbers_that_do_not_end_or_are_longer_than_they_need(wire: bytes) -> None:
    with pytest.raises(ValueError):
        packed_octets(wire)


@pytest.mark.parametrize(
    "parameter", [{"int64_param": 3}, {"uint64_param": 3}, {"double_param": 3.0}], ids=str
)
def test_a_whole_number_is_one_however_it_is_written(parameter: dict[str, Any]) -> None:
    asked = infer_message(b"x", parameters=[{"key": "top_k", "value": parameter}])
    task = Classification(10)
    assert checked(task, parse_message(asked)) == {"top_k": 3}
    text = b'{"inputs": [{"name": "packet", "datatype": "UINT8", "shape": [1], "data": [1]}], '
    text += b'"parameters": {"top_k": 3.0}}'
    found = checked(task, json_request.HttpRequest(text, None, "m").request)
    assert found == {"top_k": 3} and type(found["top_k"]) is int


def test_a_refused_body_is_left_in_the_socket(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    received = 0
    take = connections.HttpPeer.data_received

    def counted(self: connections.HttpPeer, data: bytes) -> None:
        nonlocal received
        received += len(data)
        take(self, data)

    monkeypatch.setattr(connections.HttpPeer, "data_received", counted)
    running = start()
    with connect(running) as stranger:
        whole = request(b"", {"Content-Length": str(1 << 30)}) + bytes(4 << 20)
        with suppress(OSError):  # TimeoutError too: the server reads no more
            stranger.settimeout(0.5)
            stranger.sendall(whole)
        stranger.settimeout(5)
        assert read_all(stranger).startswith(b"HTTP/1.1 413")
    assert 0 < received <= 4 * connections.PIECE


def test_over_tls_a_request_is_read_in_pieces(
    start: Start, authorities: dict[str, Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    take = connections.HttpPeer.data_received

    def counted(self: connections.HttpPeer, data: bytes) -> None:
        pieces.append(len(data))
        take(self, data)

    monkeypatch.setattr(connections.HttpPeer, "data_received", counted)
    monkeypatch.setattr(http_front, "MAX_JSON", 1 << 20)
    ours, size = authorities["ours"], 8 * connections.PIECE
    running = start(certificates=Certificates(ours.certificate, ours.key))
    context = ssl.create_default_context(cafile=str(ours.ca))
    connection = HTTPSConnection(running.http, timeout=5, context=context)
    connection.request("POST", "/v2/models/ratehold/infer", b" " * size)
    assert connection.getresponse().status == 400
    connection.close()
    assert sum(pieces) > size and max(pieces) <= connections.PIECE


def test_a_foreign_page_is_refused_over_grpc_too(start: Start, packets: dict[str, bytes]) -> None:
    def ask(running: Running, origin: str) -> str:
        with grpc.insecure_channel(running.grpc) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            try:
                call(infer_message(packets["fp"]), timeout=5, metadata=[("origin", origin)])
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"

    running = start()
    assert ask(running, "http://localhost:3000") == "OK"
    assert ask(running, "http://evil.example") == ask(running, "null") == "PERMISSION_DENIED"
    assert running.metric("ratehold_errors_total", protocol="grpc", kind="ForeignHost") == 2
    assert ask(start(host="0.0.0.0", insecure=True), "http://evil.example") == "OK"


def test_memory_is_given_back_after_requests_were_turned_away(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(server, "TIDY_SECONDS", 0.02)
    monkeypatch.setattr(server, "give_back", lambda: calls.append(None))
    running = start()
    assert_alive(running, packets)
    time.sleep(0.1)
    assert not calls  # nobody was turned away
    assert post(running, b"{}", {})[0] == 400
    until(lambda: len(calls) == 1)


HEAP = """
import ctypes, threading
from runtime.serving.intake import heap
{before}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier, places = threading.Barrier(12), []
def take():
    barrier.wait()
    places.append(libc.malloc(ctypes.c_size_t(1000)) >> 26)  # arenas of threads begin at multiples of 64 MiB
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(12)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(len(set(places)))
held = [libc.malloc(ctypes.c_size_t(60_000)) for _ in range(1000)]
[ctypes.memset(place, 1, 60_000) for place in held]
last = libc.malloc(ctypes.c_size_t(60_000))  # keeps the heap's end in use
pages = lambda: int(open("/proc/self/statm").read().split()[1])
[libc.free(ctypes.c_void_p(place)) for place in held]
full = pages()
heap.give_back()
print(full - pages())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_arenas_are_few_and_free_pages_go_back() -> None:
    def found(before: str) -> list[int]:
        environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        command = [sys.executable, "-c", HEAP.format(before=before)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return [int(word) for word in told.stdout.split()]

    few, given_back = found("heap.few_arenas()")
    many, _ = found("")
    assert few <= heap.ARENAS < many and given_back * os.sysconf("SC_PAGE_SIZE") > 40_000_000
