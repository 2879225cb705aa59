"""What a server says of itself, reloads, cuts and gives up: health, certificates, log, cancelled calls."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import pytest

from runtime.json_log import A_SECOND, TEXT
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE
from runtime.serving.intake.json_request import HttpRequest
from runtime.serving.options import Certificates
from runtime.serving.pool import Pool
from tests.runtime.serving.running import Running, Start
from tests.runtime.serving.test_hostile import connect, read_all, request
from tests.runtime.serving.test_intake import infer_message
from tests.runtime.serving.test_service import Gate, body, post, until
from tests.runtime.serving.test_tls import Authority, authorities, grpc_answers, https_status

__all__ = ["authorities"]


def get(server: Running, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = HTTPConnection(server.http, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def grpc_call(server: Running, method: str, /, **fields: str) -> Any:
    with grpc.insecure_channel(server.grpc) as channel:
        message = MESSAGES[f"{method}Request"](**fields).SerializeToString()
        answer = channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=5)
    return MESSAGES[f"{method}Response"].FromString(answer)


def test_health_has_a_body_and_tells_the_truth(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get(server, "/v2/health/live") == (200, {"live": True})
    assert get(server, "/v2/health/ready") == (200, {"ready": True})
    assert get(server, "/v2/models/tiny-fp/ready") == (200, {"name": "tiny-fp", "ready": True})
    index = [
        {"name": name, "version": "1", "state": "READY"} for name in ("tiny-fp", "tiny-mshp", "ratehold")
    ]
    assert get(server, "/v2/repository/index", "POST") == (200, index)
    assert [model.name for model in grpc_call(server, "RepositoryIndex").models] == [m["name"] for m in index]
    with grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=5) == b"\x08\x01"
        monkeypatch.setattr(Pool, "staffed", lambda *_: False)  # no worker lives
        assert check(b"", timeout=5) == b"\x08\x02"
    assert get(server, "/v2/health/live")[0] == 200
    assert get(server, "/v2/health/ready") == (503, {"ready": False})
    assert get(server, "/v2/models/tiny-fp/ready") == (503, {"name": "tiny-fp", "ready": False})
    assert get(server, "/v2/repository/index", "POST")[1][0]["state"] == "UNAVAILABLE"


@pytest.mark.parametrize(("version", "known"), [("", True), ("1", True), ("7", False), ("x" * 999, False)])
def test_both_transports_know_the_same_versions(server: Running, version: str, known: bool) -> None:
    path = f"/v2/models/ratehold/versions/{version}/ready" if version else "/v2/models/ratehold/ready"
    status, answer = get(server, path)
    assert (status == 200) is known is grpc_call(server, "ModelReady", name="ratehold", version=version).ready
    assert len(str(answer)) < 300


def test_null_is_as_if_it_were_absent_and_rows_mean_their_numbers() -> None:
    nothing: dict[str, Any] = {"id": None, "parameters": None, "outputs": None}
    tensor = {"name": "packet", "datatype": "UINT8", "parameters": None}
    for shape, data in (
        ([3], [1, 2, 3]),
        ([1, 3], [[1, 2, 3]]),
        ([3, 1], [[1], [2], [3]]),
        ([1, 1, 3], [1, 2, 3]),
    ):
        document = nothing | {"inputs": [tensor | {"shape": shape, "data": data}]}
        parsed = HttpRequest(json.dumps(document).encode(), None, "m").request
        assert (parsed.packet, parsed.identity, parsed.outputs) == (b"\1\2\3", "", ())
    document["outputs"] = [{"name": "logits", "parameters": None}]
    document["id"] = 7
    parsed = HttpRequest(json.dumps(document).encode(), None, "m").request
    assert parsed.identity == "7" and parsed.outputs == ("logits",)


def test_text_of_peers_is_cut_in_answers_and_log(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path / "cut.jsonl")
    long = "'" * 8000
    entry = {"name": "packet", "datatype": "UINT8", "shape": [1], "data": [1]}
    for document in (
        {"inputs": [entry | {"datatype": long}]},
        {"inputs": [entry | {"shape": [1] * 4000}]},
    ):
        status, answer, _ = post(server, json.dumps(document).encode(), {})
        assert status == 400 and len(answer["error"]) < TEXT + 50
    for fields in (
        {"model_name": long},
        {"model_version": long},
        {"id": long},
    ):
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(infer_message(b"x", **fields), timeout=5)
        assert len(raised.value.details()) < TEXT + 50
    server.log.close()
    lines = (tmp_path / "cut.jsonl").read_bytes().splitlines()
    assert len(lines) == 6 and max(map(len, lines)) < 8 * TEXT


def test_refusals_of_one_kind_are_few_lines_a_second_and_all_are_counted(
    start: Start, tmp_path: Path
) -> None:
    server = start(tmp_path / "few.jsonl")
    content = request(b"{}", {"Connection": "keep-alive"})
    with connect(server) as connection:
        for _ in range(10):
            connection.sendall(content * 10)
            time.sleep(0.02)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            read_all(connection)
    assert server.metric("ratehold_errors_total", protocol="http", kind="RequestError") == 100
    server.log.close()
    lines = (tmp_path / "few.jsonl").read_text().splitlines()
    assert 1 < len(lines) <= 2 + 3 * A_SECOND


def serial(server: Running, trusted: Authority) -> Any:
    context = ssl.create_default_context(cafile=str(trusted.ca))
    connection = HTTPSConnection(server.http, timeout=5, context=context)
    connection.connect()
    found = connection.sock.getpeercert()["serialNumber"]
    connection.close()
    return found


def test_certificates_are_loaded_again_and_connections_stay(
    start: Start, authorities: dict[str, Authority], tmp_path: Path
) -> None:
    ours, theirs = authorities["ours"], authorities["theirs"]
    mine = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem")
    for source, target in ((ours.certificate, mine.certificate), (ours.key, mine.key)):
        shutil.copy(source, target)
    log = tmp_path / "reload.jsonl"
    server = start(log, certificates=mine)
    kept = HTTPSConnection(server.http, timeout=5, context=ssl.create_default_context(cafile=str(ours.ca)))
    kept.connect()
    before = serial(server, ours)
    log.replace(tmp_path / "moved.jsonl")
    shutil.copy(theirs.certificate, mine.certificate)
    server.server.reload()  # certificate and key do not belong together: what was there stays
    assert serial(server, ours) == before
    shutil.copy(theirs.key, mine.key)
    server.server.reload()
    assert serial(server, theirs) != before and https_status(server, theirs) == 200
    assert grpc_answers(server, theirs) and not grpc_answers(server, ours)
    kept.request("GET", "/v2/health/live")
    assert kept.getresponse().status == 200
    kept.close()
    server.log.close()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert (
        events[:2] == ["not reloaded", "reloaded"] and "listening" in (tmp_path / "moved.jsonl").read_text()
    )


def test_handshakes_that_fail_are_counted(start: Start, authorities: dict[str, Authority]) -> None:
    ours = authorities["ours"]
    server = start(certificates=Certificates(ours.certificate, ours.key))
    for content in (b"GET / HTTP/1.1\r\n\r\n", b""):
        with connect(server) as stranger:
            stranger.sendall(content)
    until(lambda: server.metric("ratehold_refused_connections_total", kind="Handshake") == 2)
    until(lambda: len(server.server._connections) == 0)


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_call_that_is_cancelled_is_not_decoded_if_it_has_not_begun(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    server = start(workers=1)
    gate, service = Gate(monkeypatch), server.server.service
    whole = request(*body(packets["fp"]))

    async def cancel_two() -> None:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            calls = [
                channel.unary_unary(f"/{SERVICE}/ModelInfer")(infer_message(packets["fp"])) for _ in range(2)
            ]
            await asyncio.sleep(0.3)
            for one in calls:
                one.cancel()

    with connect(server) as first:
        first.sendall(whole)
        until(lambda: service.pending == 1)
        assert gate.entered.acquire(timeout=5)
        if transport == "grpc":
            asyncio.run(cancel_two())
        else:
            others = [connect(server) for _ in range(2)]
            for other in others:
                other.sendall(whole)
            until(lambda: service.pending == 3)
            for other in others:
                other.close()
        until(lambda: service.pending == 1)
        gate.open.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    counted = {"bundle": "tiny-fp", "defended": "false", "coarser": "false", "rate_controlled": "false"}
    assert server.metric("ratehold_frames_total", **counted) == 1


def test_a_watcher_that_fails_costs_no_frame(server: Running, packets: dict[str, bytes]) -> None:
    seen: list[Any] = []
    server.server.service.watchers += [lambda *_: 1 / 0, lambda *given: seen.append(given)]
    assert post(server, *body(packets["fp"]))[0] == 200
    until(lambda: len(seen) == 1)
