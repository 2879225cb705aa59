"""Bytes that no client of ours sends, and clients that come and do not go."""

from __future__ import annotations

import gzip
import json
import socket
import time
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RequestError, UnknownModel
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE, parse_message
from runtime.serving.intake.json_request import HttpRequest
from runtime.serving.protocol import checked
from runtime.tasks import Output, Task, open_task
from runtime.tasks.classification import Classification
from tests.runtime.serving.running import Running, Start
from tests.runtime.serving.test_service import body, post, until

PATH = "/v2/models/ratehold/infer"


def connect(server: Running) -> socket.socket:
    host, port = server.http.split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def request(content: bytes, headers: dict[str, str]) -> bytes:
    headers = {"Host": "localhost", "Content-Length": str(len(content))} | headers
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + content


def read_all(connection: socket.socket) -> bytes:
    """What the server sends before it closes or resets the connection."""
    found = b""
    try:
        while more := connection.recv(1 << 16):
            found += more
    except ConnectionResetError:
        pass
    return found


def assert_alive(server: Running, packets: dict[str, bytes]) -> None:
    assert post(server, *body(packets["fp"]))[0] == 200


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_on_both_ports(server: Running, packets: dict[str, bytes], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for address in (server.http, server.grpc):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(rng.bytes(5000) + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
    assert_alive(server, packets)


def test_a_body_that_ends_early_is_no_frame(server: Running, packets: dict[str, bytes]) -> None:
    whole = request(*body(packets["fp"]))
    for cut in (len(whole) - 1, len(whole) - len(packets["fp"]), 40):
        with connect(server) as connection:
            connection.sendall(whole[:cut])
    assert_alive(server, packets)
    counted = {"bundle": "tiny-fp", "defended": "false", "coarser": "false", "rate_controlled": "false"}
    assert server.metric("ratehold_frames_total", **counted) == 1
    assert server.server.service.pending == 0


def test_an_oversized_body_is_refused_before_it_is_read(server: Running, packets: dict[str, bytes]) -> None:
    with connect(server) as connection:
        connection.sendall(request(b"", {"Content-Length": str(10**12)}))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413") and b'{"error"' in answer
    with connect(server) as connection:  # no length is announced: cut off once it is too much
        connection.sendall(
            request(b"", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        )
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except OSError:
            pass
        assert b"413" in read_all(connection)[:20]
    assert server.metric("ratehold_errors_total", protocol="http", kind="HTTPRequestEntityTooLarge") == 2
    assert_alive(server, packets)


def test_a_packet_that_declares_too_much_is_refused(server: Running, packets: dict[str, bytes]) -> None:
    declared = packets["fp"][:12] + b"\xff\xff\xff\x7f" + packets["fp"][13:]
    status, answer, _ = post(server, *body(declared))
    assert status == 413 and "payload bytes declared" in answer["error"]


def test_a_compressed_body_is_refused(server: Running, packets: dict[str, bytes]) -> None:
    content, headers = body(packets["fp"])
    status, answer, _ = post(server, gzip.compress(content), headers | {"Content-Encoding": "gzip"})
    assert status == 415 and "compressed" in answer["error"]


def test_a_sender_that_stops_is_timed_out_and_a_slow_one_is_not_waited_for(
    start: Start, packets: dict[str, bytes]
) -> None:
    server = start(timeout=0.3)
    whole = request(*body(packets["fp"]))
    with connect(server) as stalled:
        stalled.sendall(whole[:-1])
        assert_alive(server, packets)
        assert b"504" in read_all(stalled)[:20]
    assert server.metric("ratehold_errors_total", protocol="http", kind="TooSlow") == 1


def test_idle_connections_and_slow_readers_harm_nobody(server: Running, packets: dict[str, bytes]) -> None:
    idle = [connect(server) for _ in range(100)]
    readers = [connect(server) for _ in range(10)]
    for reader in readers:  # ask again and again, and never read
        reader.sendall(request(*body(packets["fp"])) * 20)
    begin = time.monotonic()
    for _ in range(20):
        assert_alive(server, packets)
    assert time.monotonic() - begin < 5
    for connection in idle + readers:
        connection.close()
    until(lambda: server.server.service.pending == 0)
    assert_alive(server, packets)


HEADERS = [
    ({"Inference-Header-Content-Length": "-1"}, "is a number"),
    ({"Inference-Header-Content-Length": "10" * 9}, "is a number"),
    ({"Inference-Header-Content-Length": "99999999"}, "announced"),
    ({"Inference-Header-Content-Length": "0"}, "announced"),
    ({"Inference-Header-Content-Length": "7"}, "not JSON"),
    ({}, "not JSON"),
]


@pytest.mark.parametrize(("headers", "message"), HEADERS)
def test_wrong_lengths_are_said(
    server: Running, packets: dict[str, bytes], headers: dict[str, str], message: str
) -> None:
    status, answer, _ = post(server, body(packets["fp"])[0], headers)
    assert status == 400 and message in answer["error"]


def packet_input(**changed: Any) -> dict[str, Any]:
    entry = {"name": "packet", "datatype": "UINT8", "shape": [2], "data": [1, 2]} | changed
    return {"inputs": [{name: value for name, value in entry.items() if value is not None}]}


@pytest.mark.parametrize(
    "document",
    [
        [], {}, {"inputs": {}}, {"inputs": []}, {"inputs": [1]}, packet_input(name="x"),
        packet_input(datatype="FP32"), packet_input(datatype="BYTES"), packet_input(data=None),
        packet_input(data=[1, 256]), packet_input(data=[1, "2"]), packet_input(data=[[1], 2]),
        packet_input(shape=[3]), packet_input(shape=["2"]), packet_input(shape=[-1, -2]),
        packet_input(shape=2),
        packet_input(shape=[1] * 9), packet_input(parameters={"binary_data_size": 2}),
        packet_input() | {"id": [7]}, packet_input() | {"id": 1 << 64},
        packet_input() | {"id": "x" * 200}, packet_input() | {"parameters": []},
        packet_input() | {"outputs": [1]},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_json_that_is_no_request(document: Any) -> None:
    with pytest.raises(RequestError):
        HttpRequest(json.dumps(document).encode(), None, "ratehold")


CLASSIFICATION = Classification(10)
DETECTION = open_task({"kind": "detection", "bins": 2, "strides": [2, 4]}, (Output("rows", (5, 9)),), 4)


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        (CLASSIFICATION, {"parameters": {"top_k": 0}}), (CLASSIFICATION, {"parameters": {"top_k": True}}),
        (CLASSIFICATION, {"parameters": {"top_k": "5"}}), (CLASSIFICATION, {"outputs": [{"name": "boxes"}]}),
        (DETECTION, {"parameters": {"threshold": 1.5}}), (DETECTION, {"parameters": {"threshold": "0.5"}}),
        (DETECTION, {"parameters": {"threshold": None}}), (DETECTION, {"parameters": {"max_boxes": 0.5}}),
        (DETECTION, {"parameters": {"max_boxes": 1 << 20}}), (DETECTION, {"outputs": [{"name": "logits"}]}),
    ],
)  # fmt: skip
def test_what_a_task_does_not_take_is_refused(task: Task, asked: dict[str, Any]) -> None:
    request = HttpRequest(json.dumps(packet_input() | asked).encode(), None, "ratehold").request
    with pytest.raises(RequestError):
        checked(task, request)


def test_parameters_of_another_task_are_not_looked_at() -> None:
    document = packet_input() | {"parameters": {"top_k": 3, "threshold": 0.5, "more": []}}
    request = HttpRequest(json.dumps(document).encode(), None, "ratehold").request
    assert checked(CLASSIFICATION, request) == {"top_k": 3}
    assert checked(DETECTION, request) == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("value", "taken"),
    [({"int64_param": 3}, 3), ({}, None), ({"string_param": "5"}, None), ({"bool_param": True}, None),
     ({"double_param": 3.5}, None)],
)  # fmt: skip
def test_grpc_parameters_have_types(value: dict[str, Any], taken: int | None) -> None:
    fields = {"parameters": [{"key": "top_k", "value": value}], "outputs": []}
    request = parse_message(MESSAGES["ModelInferRequest"](**(RIGHT | fields)).SerializeToString())
    if taken is None:
        with pytest.raises(RequestError, match="top_k must be a whole number from 1"):
            checked(CLASSIFICATION, request)
    else:
        assert checked(CLASSIFICATION, request) == {"top_k": taken}


def test_json_that_nests_too_deep() -> None:
    with pytest.raises(RequestError):
        HttpRequest(b"[" * 100_000, None, "ratehold")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
likely = st.fixed_dictionaries(
    {"inputs": st.lists(
        st.fixed_dictionaries(
            {"name": st.just("packet")},
            optional={
                "datatype": st.sampled_from(["BYTES", "UINT8"]) | json_values,
                "shape": st.lists(st.integers(-1, 9), max_size=3) | json_values,
                "data": st.lists(st.integers(-1, 256), max_size=9) | json_values,
                "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 9)}) | json_values,
            },
        ),
        max_size=2,
    )},
    optional={"id": json_values, "outputs": json_values, "parameters": json_values},
)  # fmt: skip


@given(document=json_values | likely, tail=st.binary(max_size=9), cut=st.integers(-2, 3))
def test_any_body_is_a_request_or_a_request_error(document: Any, tail: bytes, cut: int) -> None:
    text = json.dumps(document).encode()
    for length in (None, len(text) + cut):
        try:
            parsed = HttpRequest(text + tail, length, "ratehold")
        except RequestError:
            continue
        assert len(parsed.request.packet) <= max(9, len(tail))


def call(server: Running, message: bytes) -> bytes:
    with grpc.insecure_channel(server.grpc) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answer: bytes = method(message, timeout=10)
        return answer


def test_grpc_refuses_what_is_too_large_or_no_message(server: Running, packets: dict[str, bytes]) -> None:
    for message, code in ((bytes(10_000_000), "RESOURCE_EXHAUSTED"), (b"\xff" * 50, "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as raised:
            call(server, message)
        assert raised.value.code().name == code
    assert_alive(server, packets)


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": []},
        {"raw_input_contents": [b"1", b"2"]},
        {"raw_input_contents": [b""]},
        {"raw_input_contents": []},
        {"id": "x" * 200},
        {
            "inputs": [
                {
                    "name": "packet",
                    "datatype": "UINT8",
                    "shape": [1],
                    "contents": {"uint_contents": [b"\x80\x02"]},
                }
            ]
        },
    ],
    ids=str,
)
def test_grpc_messages_that_are_no_request(server: Running, changed: dict[str, Any]) -> None:
    right = {
        "model_name": "ratehold",
        "inputs": [{"name": "packet", "datatype": "BYTES", "shape": [1]}],
        "raw_input_contents": [b"\x01\0\0\0x"],
    }
    contents = changed.get("inputs") and {"raw_input_contents": []}
    with pytest.raises(grpc.RpcError) as raised:
        call(
            server, MESSAGES["ModelInferRequest"](**(right | changed | (contents or {}))).SerializeToString()
        )
    assert raised.value.code().name == "INVALID_ARGUMENT"
    assert server.metric("ratehold_errors_total", protocol="grpc", kind="RequestError") == 1


RIGHT = {
    "model_name": "ratehold",
    "id": "camera-1",
    "inputs": [{"name": "packet", "datatype": "BYTES", "shape": [1]}],
    "outputs": [{"name": "logits"}],
    "raw_input_contents": [b"\x04\0\0\0\0\1\2\0"],
}


@given(
    data=st.binary(max_size=200),
    cut=st.integers(0, 200),
    flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
)
def test_any_grpc_message_is_a_request_or_an_error_of_ours(
    data: bytes, cut: int, flips: list[tuple[int, int]]
) -> None:
    message = bytearray(MESSAGES["ModelInferRequest"](**RIGHT).SerializeToString())
    assert parse_message(bytes(message)).packet == b"\0\1\2\0"
    for place, value in flips:
        message[place % len(message)] = value
    for hostile in (data, bytes(message[:cut]), bytes(message) + data):
        try:
            assert len(parse_message(hostile).packet) <= len(hostile)
        except (RequestError, UnknownModel):
            continue
