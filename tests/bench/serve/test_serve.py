"""The server's benchmark: its arithmetic, what it counts, and the whole of it on a tiny bundle."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.serve import __main__ as serve
from bench.serve import batching, hostile, memory, sections, strangers
from bench.serve import load as serve_load
from bench.serve.batching import gains
from bench.serve.client import camera
from bench.serve.kills import account
from bench.serve.load import latencies, poisson, spaced
from bench.serve.process import serving
from runtime.bundle import load
from runtime.head import Head
from runtime.streaming.connection import Address, ServerAnswer
from tests.tiny_bundle import tiny_images


def test_arrivals() -> None:
    assert spaced(10.0, 0.5).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    due = poisson(200.0, 50.0)
    gaps = np.diff(due)
    assert len(due) == 10_000 and gaps.mean() == pytest.approx(1 / 200, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as of an exponential


def test_a_late_answer_counts_from_when_its_request_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    server = threading.Lock()  # answers one request at a time, in 20 ms

    class Slow:
        def __init__(self, _: Address):
            pass

        def infer(self, identity: str, packet: bytes) -> ServerAnswer:
            with server:
                time.sleep(0.02)
            return ServerAnswer({})

        def close(self) -> None:
            pass

    monkeypatch.setattr(serve_load, "Connection", Slow)
    seconds = latencies(Address("x", 1, 1.0), [b""], np.zeros(10))
    assert (np.sort(seconds) >= np.arange(1, 11) * 0.0199).all()  # each has waited for those before it
    assert latencies(Address("x", 1, 1.0), [b""], spaced(10.0, 0.5)).min() < 0.1  # and not for its turn


def test_gains_are_medians_of_ratios_of_a_round() -> None:
    per_s = {("bare", 1): (9, 9, 9), ("bare", 2): (10, 20, 40), ("served", 2): (5, 10, 20)}
    rows = [
        {
            "where": where, "threads": threads, "batch": batch, "round": number,
            "per_s": value * (1.5 if batch == 4 else 1) + (number == 0), "cpu_ms": 8.0 / batch,
        }
        for (where, threads), values in per_s.items()
        for batch in (1, 4)
        for number, value in enumerate(values)
    ]  # fmt: skip
    assert gains(rows, 4) == {"batching_gain": 1.5, "batching_cpu": 0.25, "batching_bare_gain": 1.5}


class Record:
    """A client's folder, as it is left."""

    def __init__(self, folder: Path, outcomes: list[tuple[str, str]], witness: str):
        self._lines, self._witness = outcomes, witness

    def outcomes(self) -> list[dict[str, Any]]:
        return [{"frame": frame, "event": event} for frame, event in self._lines]

    def captured(self) -> set[str]:
        return set(self._witness.split())


def test_frames_are_accounted_for(tmp_path: Path) -> None:
    lines = [("a", "answered"), ("b", "answered"), ("b", "answered"), ("c", "dropped"), ("e", "answered")]
    assert account(Record(tmp_path, lines, "a b c d")) == {  # type: ignore[arg-type]
        "captured": 5, "answered": 4, "dropped": 1, "others": 0, "lost": 1, "answered_twice": 1,
    }  # fmt: skip


def test_the_camera_tells_a_witness_what_was_taken_charge_of(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.stack(tiny_images(2)))
    frames = camera(tmp_path, "run3")
    assert next(frames).name == "run3-0" and (tmp_path / "witness").read_text() == ""
    assert next(frames).name == "run3-1" and (tmp_path / "witness").read_text() == "run3-0\n"
    (tmp_path / "stop").touch()
    assert list(frames) == [] and (tmp_path / "witness").read_text() == "run3-0\nrun3-1\n"


def test_hostile_requests_get_what_they_should(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["fp"])
    packets = [Head(bundle).encode(image).to_bytes() for image in tiny_images(3)]
    with serving([bundle], 1) as server:
        row = memory.measure(server, bundle, packets, 200)
    assert row["unexpected"] == {} and row["requests"] == 200 and len(row["rss_mb"]) == 100
    assert sum(row["of_twenty"].values()) == 20
    assert row["growth"] == pytest.approx(max(row["rss_mb"]) / row["rss_mb_warm"] - 1, abs=1e-3)


def run(bundle: Path, out: Path, *arguments: str) -> dict[str, Any]:
    tiny = [
        "--bundle",
        str(bundle),
        "--workers",
        "1",
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--json",
        str(out),
    ]
    assert serve.main([*tiny, *arguments]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_load(tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "IDLE", 10)
    monkeypatch.setattr(sections, "SLOW", 2)
    monkeypatch.setattr(sections, "SINGLE", 10)
    monkeypatch.setattr(batching, "BATCHES", (1, batching.COMPARED))
    chosen = ["--sections", "efficiency", "batching", "latency", "crowd"]
    summary = run(tiny_bundles["fp"], tmp_path / "serve.json", *chosen)["summary"]
    assert summary["efficiency"] == pytest.approx(summary["served_per_s"] / summary["bare_per_s"])
    assert 0 < summary["generator_cores"] < 2
    assert min(summary["batching_gain"], summary["batching_cpu"], summary["batching_bare_gain"]) > 0
    assert (
        summary["bare_p99_over_p50"] > 0
        and summary["p99_at_70_over_p50"] > 0
        and summary["p99_with_idlers_over_without"] > 0
    )


@pytest.mark.slow
def test_outage_and_kills(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    arguments = ["--sections", "outage", "kills", "--down", "1", "--kills", "3"]
    result = run(tiny_bundles["fp"], tmp_path / "serve.json", *arguments)
    assert result["summary"]["lost"] == result["summary"]["answered_twice"] == 0
    rows = {row.get("policy", row["section"]): row for row in result["rows"]}
    assert rows["kills"]["server_kills"] == rows["kills"]["client_kills"] == 3
    for row in (rows["kills"], rows["block"]):
        assert row["dropped"] == 0 and row["captured"] == row["answered"] >= 6
    for policy in ("drop-oldest", "shrink"):
        assert rows[policy]["captured"] == rows[policy]["answered"] + rows[policy]["dropped"]


def test_mistakes_of_the_settings_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--bundle", str(tmp_path / "none")]) == 1
    assert "none: no manifest.json" in capsys.readouterr().err


def test_hostile_crowds_take_up_little(
    tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "SETTLE_SECONDS", 0.1)
    result = run(tiny_bundles["fp"], tmp_path / "serve.json", "--sections", "hostile", "--held", "0.5")
    assert [row["crowd"] for row in result["rows"]] == ["unfinished", "json", "protobuf"]
    assert result["summary"]["hostile_growth_mb"] < 100 and result["summary"]["hostile_p99_ratio"] > 0
    ratios = [row["grpc_among_p99_ms"] / row["grpc_without_p99_ms"] for row in result["rows"]]
    assert result["summary"]["hostile_grpc_p99_ratio"] == pytest.approx(max(ratios))


def test_rows_are_written_as_they_are_measured(
    tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*given: Any) -> dict[str, Any]:
        if given[3] == "protobuf":
            raise KeyboardInterrupt
        watched = dict.fromkeys(hostile.WATCHED, 1.0)
        return {"section": "hostile", "crowd": given[3]} | watched

    monkeypatch.setattr(hostile, "measure", ended)
    out = tmp_path / "serve.json"
    with pytest.raises((KeyboardInterrupt, AssertionError)):
        run(tiny_bundles["fp"], out, "--sections", "hostile", "--crowds", "json", "protobuf")
    assert [row["crowd"] for row in json.loads(out.read_text())["rows"]] == ["json"]


def test_an_unfinished_message_is_all_but_its_last_byte() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    channel = strangers.Channel(listener.getsockname(), 2, 50_000)
    server, _ = listener.accept()
    thread = threading.Thread(target=channel.run, daemon=True)
    thread.start()
    settings = strangers.frame(strangers.SETTINGS, 0, 0)
    server.sendall(settings + strangers.frame(strangers.WINDOW, 0, 0, (1 << 20).to_bytes(4, "big")))
    received, sent = b"", {1: b"", 3: b""}
    end = time.monotonic() + 5
    while any(len(content) < 50_004 for content in sent.values()) and time.monotonic() < end:
        received += server.recv(1 << 16)
        rest, sent = received.removeprefix(strangers.PREFACE), {1: b"", 3: b""}
        while len(rest) >= 9 and len(rest) >= 9 + (size := int.from_bytes(rest[:3], "big")):
            if rest[3] == strangers.DATA:
                sent[int.from_bytes(rest[5:9], "big")] += rest[9 : 9 + size]
            rest = rest[9 + size :]
    server.close()
    listener.close()
    thread.join(5)
    for content in sent.values():
        assert content[:5] == b"\0" + (50_000).to_bytes(4, "big") and len(content) == 50_004


def test_bombs_are_json_within_their_size() -> None:
    content = strangers.bomb(10_000)
    assert len(content) <= 10_000 and len(json.loads(content)["inputs"]) > 3000
