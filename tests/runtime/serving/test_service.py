"""Back-pressure, repetitions, time-outs, drain, metrics, log: over plain sockets and http.client."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest

from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags, Packet
from runtime.errors import EngineError, PacketBundleMismatch, ServingError, UnknownModel
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.pool import Readers
from tests.runtime.serving.running import Running, Start


def body(packet: bytes, identity: str = "", **more: Any) -> tuple[bytes, dict[str, str]]:
    entry = {"name": "packet", "datatype": "UINT8", "shape": [len(packet)]}
    entry["parameters"] = {"binary_data_size": len(packet)}  # type: ignore[assignment]
    text = json.dumps({"id": identity, "inputs": [entry], **more}).encode()
    return text + packet, {"Inference-Header-Content-Length": str(len(text))}


def post(
    server: Running, content: bytes, headers: dict[str, str], model: str = "ratehold"
) -> tuple[int, Any, dict[str, str]]:
    """Status, parsed JSON and headers of one request on a connection of its own."""
    connection = HTTPConnection(server.http, timeout=10)
    connection.request("POST", f"/v2/models/{model}/infer", content, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text), dict(answer.headers)


class Gate:
    """Holds every worker of a server until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        read = Readers.read

        def wait(readers: Readers, bundle: Bundle, packet: bytes) -> Any:
            self.entered.release()
            assert self.open.wait(20)
            return read(readers, bundle, packet)

        monkeypatch.setattr(Readers, "read", wait)


def until(condition: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_full_queue_says_try_later_and_loses_nothing(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(workers=1, queue=2, batch=1)
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(3) as threads:
        accepted = [threads.submit(post, server, *body(packets["fp"])) for _ in range(3)]
        until(lambda: server.server.service.pending == 3)
        until(lambda: server.metric("ratehold_waiting") == 2)
        status, answer, headers = post(server, *body(packets["fp"]))
        assert status == 503 and "try later" in answer["error"] and int(headers["Retry-After"]) >= 1
        gate.open.set()
        assert [future.result()[0] for future in accepted] == [200] * 3
    assert post(server, *body(packets["fp"]))[0] == 200
    assert server.metric("ratehold_errors_total", protocol="http", kind="TryLater") == 1
    frames = {"bundle": "tiny-fp", "defended": "false", "coarser": "false", "rate_controlled": "false"}
    assert server.metric("ratehold_frames_total", **frames) == 4


def test_a_repeated_id_is_answered_again_and_counted_once(server: Running, packets: dict[str, bytes]) -> None:
    first = post(server, *body(packets["fp"], "camera-1"))
    assert post(server, *body(packets["fp"], "camera-1"))[:2] == first[:2]
    other = post(server, *body(packets["mshp"], "camera-1"))  # another device that counts alike
    assert other[0] == 200 and other[1]["outputs"] != first[1]["outputs"]
    counted = {"defended": "false", "coarser": "false", "rate_controlled": "false"}
    assert server.metric("ratehold_frames_total", bundle="tiny-fp", **counted) == 1
    assert server.metric("ratehold_frames_total", bundle="tiny-mshp", **counted) == 1
    assert server.metric("ratehold_repeated_requests_total") == 1
    for _ in range(2):  # without an id every request is a frame
        post(server, *body(packets["fp"]))
    assert server.metric("ratehold_frames_total", bundle="tiny-fp", **counted) == 3


def test_a_repetition_waits_for_the_frame_that_is_on_its_way(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(workers=1, queue=0)
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(post, server, *body(packets["fp"], "x")) for _ in range(2)]
        until(lambda: server.metric("ratehold_repeated_requests_total") == 1)
        gate.open.set()
        assert both[0].result()[:2] == both[1].result()[:2]
    assert gate.entered.acquire(blocking=False) and not gate.entered.acquire(blocking=False)


def test_grpc_counts_and_pushes_back_alike(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(workers=1, queue=0)

    def call(identity: str) -> Any:
        message = MESSAGES["ModelInferRequest"](
            model_name="ratehold", id=identity, raw_input_contents=[packets["fp"]],
            inputs=[{"name": "packet", "datatype": "UINT8", "shape": [len(packets["fp"])]}],
        )  # fmt: skip
        with grpc.insecure_channel(server.grpc) as channel:
            return channel.unary_unary(f"/{SERVICE}/ModelInfer")(message.SerializeToString(), timeout=10)

    assert post(server, *body(packets["fp"], "camera-1"))[0] == 200
    answer = MESSAGES["ModelInferResponse"].FromString(call("camera-1"))
    assert answer.id == "camera-1" and answer.outputs[0].name == "logits"
    assert server.metric("ratehold_repeated_requests_total") == 1
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        accepted = threads.submit(call, "camera-2")
        gate.entered.acquire(timeout=5)
        with pytest.raises(grpc.RpcError) as raised:
            call("camera-3")
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert int(dict(raised.value.trailing_metadata())["retry-after"]) >= 1
        gate.open.set()
        accepted.result(10)
    assert server.metric("ratehold_requests_total", protocol="grpc") == 3


def test_only_the_last_answers_are_remembered(start: Start, packets: dict[str, bytes]) -> None:
    server = start(workers=1, queue=0, remember=1)
    for identity in ("a", "b", "a"):
        assert post(server, *body(packets["fp"], identity))[0] == 200
    assert server.metric("ratehold_repeated_requests_total") == 0


@pytest.mark.parametrize("failure", [MemoryError, EngineError])
def test_a_frame_that_failed_is_tried_again(
    server: Running, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    read = Readers.read

    def fail(readers: Readers, bundle: Bundle, packet: bytes) -> Any:
        monkeypatch.setattr(Readers, "read", read)
        raise failure("secret of the machine")

    monkeypatch.setattr(Readers, "read", fail)
    status, answer, _ = post(server, *body(packets["fp"], "x"))
    assert status == 500 and "secret" not in answer["error"]
    assert server.metric("ratehold_errors_total", protocol="http", kind=failure.__name__) == 1
    assert post(server, *body(packets["fp"], "x"))[0] == 200


def test_a_slow_frame_times_out_and_its_answer_is_found_later(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(timeout=0.2)
    gate = Gate(monkeypatch)
    status, answer, _ = post(server, *body(packets["fp"], "x"))
    assert status == 504 and "0.2 s" in answer["error"]
    gate.open.set()
    until(lambda: server.server.service.pending == 0)
    assert post(server, *body(packets["fp"], "x"))[0] == 200
    assert server.metric("ratehold_repeated_requests_total") == 1


def test_draining_answers_what_was_accepted_and_refuses_the_rest(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    gate = Gate(monkeypatch)
    kept = HTTPConnection(server.http, timeout=10)
    kept.connect()
    with ThreadPoolExecutor(2) as threads:
        accepted = threads.submit(post, server, *body(packets["fp"]))
        gate.entered.acquire(timeout=5)
        drained = threads.submit(server.call, server.server.service.drain())
        until(lambda: not server.server.service.ready)
        assert post(server, *body(packets["fp"]))[0] == 503
        kept.request("GET", "/v2/health/ready")
        assert kept.getresponse().status == 503
        assert not drained.done()
        gate.open.set()
        assert accepted.result()[0] == 200
        drained.result(5)
    kept.close()


def test_frames_that_wait_are_batched_and_a_bad_one_is_refused_alone(
    start: Start, packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = start(tmp_path / "batched.jsonl", workers=1, batch=8, timeout=5.0)
    hostile = Packet(packets["fp"][3:11], Flags.NONE, bytes(12)).to_bytes()
    sent = [packets["fp"], packets["mshp"], hostile, packets["defended"], packets["fp"]]
    expected = [post(server, *body(packet)) for packet in sent]
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(post, server, *body(packets["fp"], "first"))
        gate.entered.acquire(timeout=5)
        asked = [threads.submit(post, server, *body(packet, f"frame-{n}")) for n, packet in enumerate(sent)]
        again = threads.submit(post, server, *body(sent[0], "frame-0"))
        until(
            lambda: server.server.service.pending == 6 and server.metric("ratehold_repeated_requests_total")
        )
        drained = threads.submit(server.call, server.server.service.drain())
        until(lambda: not server.server.service.ready)
        gate.open.set()
        drained.result(10)
        assert first.result()[0] == 200 and again.result()[1]["outputs"] == asked[0].result()[1]["outputs"]
        for (status, answer, _), (alone, said, _) in zip((a.result() for a in asked), expected, strict=True):
            assert status == alone == (400 if "error" in said else 200)
            for ours, single in zip(answer.get("outputs", []), said.get("outputs", []), strict=True):
                assert ours["data"] == pytest.approx(single["data"], rel=1e-4, abs=1e-5)
    assert server.metric("ratehold_frames_together_bucket", le="4.0") == 6  # four alone, the first, and
    assert server.metric("ratehold_frames_together_sum") == 9  # the four that waited for it
    server.log.close()
    lines = [json.loads(line) for line in (tmp_path / "batched.jsonl").read_text().splitlines()]
    told = {line["id"]: line.get("together") for line in lines if line.get("id", "").startswith("frame")}
    assert told == {"frame-0": 4, "frame-1": 4, "frame-2": None, "frame-3": 4, "frame-4": 4}


def test_metrics_tell_what_the_device_did(server: Running, packets: dict[str, bytes]) -> None:
    post(server, *body(packets["defended"]))
    post(server, *body(packets["fp"]))
    connection = HTTPConnection(server.http, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    assert (
        'ratehold_frames_total{bundle="tiny-fp",coarser="true",defended="true",rate_controlled="false"} 1.0'
        in lines
    )
    assert (
        'ratehold_frames_total{bundle="tiny-fp",coarser="false",defended="false",rate_controlled="false"} 1.0'
        in lines
    )
    assert (
        f'ratehold_packet_bytes_sum{{bundle="tiny-fp"}} {len(packets["fp"] + packets["defended"]):.1f}'
        in lines
    )
    for stage in ("queue", "decode", "tail"):
        assert f'ratehold_stage_seconds_count{{stage="{stage}"}} 2.0' in lines
    assert 'ratehold_requests_total{protocol="http"} 2.0' in lines


def test_the_log_has_a_line_for_each_event(start: Start, packets: dict[str, bytes], tmp_path: Path) -> None:
    server = start(tmp_path / "server.jsonl")
    post(server, *body(packets["fp"], 'a "quoted"\nid'))
    post(server, *body(packets["fp"][:-1], "short"))
    server.log.close()
    events = [json.loads(line) for line in (tmp_path / "server.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["listening", "answered", "refused"]
    assert events[1]["id"] == 'a "quoted"\nid' and events[1]["bytes"] == len(packets["fp"])
    assert events[2]["kind"] == "PacketTruncated" and events[2]["id"] == "short"


def test_a_full_disk_for_the_log_stops_nothing(start: Start, packets: dict[str, bytes]) -> None:
    server = start(Path("/dev/full"))
    for _ in range(3):
        assert post(server, *body(packets["fp"]))[0] == 200
    until(lambda: server.metric("ratehold_log_lines_lost") == 4)  # listening, and three answers


def test_models_are_told_apart(tiny_bundles: dict[str, Path], packets: dict[str, bytes]) -> None:
    fp, mshp = load(tiny_bundles["fp"]), load(tiny_bundles["mshp"])
    models = Models([fp, mshp, fp])
    assert models.bundles == [fp, mshp] and models.names() == ["tiny-fp", "tiny-mshp", "ratehold"]
    assert models.route("ratehold", packets["mshp"]) == mshp == models.route("tiny-mshp", packets["mshp"])
    with pytest.raises(PacketBundleMismatch, match="model tiny-fp decodes tiny-fp"):
        models.route("tiny-fp", packets["mshp"])
    with pytest.raises(UnknownModel, match="no model 'x'"):
        models.route("x", packets["mshp"])


def test_two_bundles_of_one_name_are_refused(
    tiny_bundles: dict[str, Path], robust_bundles: dict[str, Path], tmp_path: Path
) -> None:
    import dataclasses

    fp, other = load(tiny_bundles["fp"]), load(tiny_bundles["mshp"])
    for name in ("tiny-fp", "ratehold"):
        renamed = dataclasses.replace(other, manifest=dataclasses.replace(other.manifest, name=name))
        with pytest.raises(ServingError, match="names of their own"):
            Models([fp, renamed])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bundles": ()}, "no bundle"),
        ({"workers": 0}, "workers must be 1"),
        ({"queue": -1}, "queue must be 0"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"http_port": 70_000}, "0 to 65535"),
        ({"grpc_port": -1}, "0 to 65535"),
        ({"remember": 3}, "remember must be 33"),
        ({"batch": 0}, "batch must be 1"),
        ({"batch_wait": -0.1}, "from 0 to 10 s"),
        ({"batch_wait": 10.0}, "from 0 to 10 s"),
        ({"batch_wait": float("nan")}, "from 0 to 10 s"),
        ({"host": "0.0.0.0"}, "--insecure"),
        ({"host": "::"}, "--insecure"),
        ({"host": ""}, "not an address"),
        ({"host": "no such host"}, "not an address"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError, match=message):
        Options(**({"bundles": ("x",)} | options))


def test_loopback_needs_no_certificate() -> None:
    for host in ("127.0.0.1", "localhost", "127.8.8.8"):
        assert Options(("x",), host).certificates is None
    assert Options(("x",), "0.0.0.0", insecure=True).insecure


def test_a_taken_port_is_said(start: Start, server: Running) -> None:
    for port in ("http_port", "grpc_port"):
        with pytest.raises(ServingError, match="cannot listen"):
            start(**{port: getattr(server.server, port)})
