"""The emulated link against arithmetic and real bytes, and the benchmark as a whole."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.common.attack_pack import read_pack
from bench.common.errors import BenchError
from bench.link import __main__ as link
from bench.link.runs import FrameEncoder, LinkRow, Nowhere, run
from bench.serve.emulated_link import BURST_BYTES, Conditions, EmulatedLink, TokenBucket, wire_bytes
from runtime.preprocess import Preprocess
from runtime.streaming.connection import Address, Connection, ServerAnswer, TryAgain
from tests.tiny_bundle import tiny_images


def test_conditions() -> None:
    assert Conditions.of("250kbit,80ms,1%loss") == Conditions(250.0, 80.0, 0.01)
    assert Conditions.of("1.5kbit") == Conditions(1.5)
    for wrong in (
        "",
        "80ms",
        "0kbit",
        "250kbit,",
        "250kbit,250kbit",
        "250kbit,100%loss",
        "250 kbit",
        "-1kbit",
    ):
        with pytest.raises(BenchError, match="like 250kbit"):
            Conditions.of(wrong)


def test_what_a_request_weighs_is_what_is_sent() -> None:
    identity, packet = "session-17", bytes(1234)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = bytearray()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while not received.endswith(packet):
                    received.extend(connection.recv(1 << 16))
                connection.sendall(b"HTTP/1.1 503 later\r\nContent-Length: 0\r\n\r\n")

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        port = listener.getsockname()[1]
        client = Connection(Address("127.0.0.1", port, 5.0))
        with pytest.raises(TryAgain):
            client.infer(identity, packet)
        server.join(5)
        client.close()
    assert len(received) - len(str(port)) == wire_bytes(identity, packet) - len("8000")


@given(
    sizes=st.lists(st.tuples(st.integers(1, 20_000), st.floats(0, 5)), min_size=1, max_size=20),
    kbit_s=st.floats(8, 8000),
)
def test_a_token_bucket_never_gives_more_than_its_rate_and_one_burst(
    sizes: list[tuple[int, float]], kbit_s: float
) -> None:
    now = 0.0
    bucket = TokenBucket(kbit_s, lambda: now)
    sent = 0
    for size, idle in sizes:
        wait = bucket.take(size)
        assert wait >= 0
        now += wait
        sent += size
        assert sent <= BURST_BYTES + now * kbit_s * 125 + 1e-3
        now += idle


def test_a_busy_bucket_is_as_fast_as_its_rate() -> None:
    now = 0.0
    bucket = TokenBucket(80.0, lambda: now)  # 10,000 bytes a second
    for _ in range(10):
        now += bucket.take(2000)
    assert now == pytest.approx((20_000 - BURST_BYTES) / 10_000)


def test_delay_and_loss() -> None:
    pauses: list[float] = []
    reliable = EmulatedLink(Nowhere(), Conditions(1e6, 80.0), 0.5, pause=pauses.append)
    assert reliable.infer("a", b"x") == ServerAnswer({}) and sum(pauses) == pytest.approx(0.16, abs=0.01)
    seen: list[str] = []

    class Server(Nowhere):
        def infer(self, identity: str, packet: bytes) -> ServerAnswer:
            seen.append(identity)
            return ServerAnswer({})

    lossy, lost = EmulatedLink(Server(), Conditions(1e6, 0.0, 0.2), 0.5, pause=lambda _: None), []
    for number in range(1000):
        try:
            lossy.infer(str(number), b"x")
        except TimeoutError:
            lost.append(str(number))
    assert 320 <= len(lost) <= 400  # 1 - 0.8 * 0.8 = 0.36
    assert 150 <= len(set(lost) - set(seen)) <= 250 and set(lost) & set(seen)


def test_a_link_that_is_too_thin_drops_frames_and_keeps_the_others_fresh() -> None:
    size = wire_bytes("0123456789-0", bytes(1000))
    conditions = Conditions(kbit_s=8 * size * 10 / 1000)  # ten frames a second, about
    frames = [np.zeros((2, 2, 3), np.uint8)]
    arrivals = run(FrameEncoder(lambda _: bytes(1000)), frames, [Nowhere()], conditions, fps=40.0, frames=40)
    assert 8 <= len(arrivals) <= 16 and arrivals[0].number == 0 and arrivals[-1].number == 39
    assert max(arrival.seconds for arrival in arrivals) < 0.6


def test_a_camera_that_fails_is_said() -> None:
    def broken(_: object) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(FrameEncoder(broken), [np.zeros((2, 2, 3), np.uint8)], [Nowhere()], Conditions(1000), 100.0, 3)


def test_the_benchmark(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    for name in ("clean", "attacked"):
        (tmp_path / name).mkdir()
        for number, image in enumerate(tiny_images(3)):
            noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(image if name == "clean" else noise).save(tmp_path / name / f"{number}.png")
    arguments = [
        "--bundle",
        str(tiny_bundles["fp"]),
        "--emulate",
        "100kbit,5ms",
        "--fps",
        "50",
        "--frames",
        "4",
    ]
    folders = ["--clean", str(tmp_path / "clean"), "--attacked", str(tmp_path / "attacked")]
    out = tmp_path / "link.json"
    more = ["--workers", "1", "--budget", "60", "--json", str(out)]
    assert link.main([*arguments, *folders, *more]) == 0
    result = json.loads(out.read_text())
    rows = {(row["variant"], row["frames"]): row for row in result["rows"]}
    assert len(rows) == len(result["rows"]) == 10
    for row in rows.values():
        assert 1 <= row["answered"] <= row["captured"] == 4
        assert 10 <= row["latency_p50_ms"] <= row["latency_p95_ms"]
    overhead = wire_bytes("0" * 29 + "-0", b"")
    assert rows["ratehold guarded", "attacked"]["wire_bytes_mean"] <= overhead + 60 + 20
    assert rows["ratehold", "attacked"]["wire_bytes_mean"] > rows["ratehold", "clean"]["wire_bytes_mean"]
    assert rows["ratehold", "clean"]["agreement"] == 1.0 and rows["jpeg q75", "clean"]["agreement"] is None
    assert str(tmp_path) not in json.dumps(result["settings"]).replace(str(tiny_bundles["fp"]), "")


def test_frames_come_in_pairs_where_they_can(tmp_path: Path) -> None:
    real = Preprocess(224, 1.0)
    images, same = link.clean_and_attacked(None, None, 3, real)
    assert same and len(images["clean"]) == len(images["attacked"]) == 3
    for image, attacked in zip(images["clean"], images["attacked"], strict=True):
        change = np.abs(real.square(image).astype(np.int16) - attacked).max()
        assert 0 < change <= read_pack().eps
    images, same = link.clean_and_attacked(None, None, 2, Preprocess(32, 1.0))  # the pack does not fit
    assert not same and [i.shape for i in images["attacked"]] == [(32, 32, 3)] * 2
    Image.fromarray(tiny_images(1)[0]).save(tmp_path / "a.png")
    assert link.clean_and_attacked(tmp_path, tmp_path, 2, real)[1]
    assert not link.clean_and_attacked(None, tmp_path, 2, real)[1]


def test_the_summary_takes_the_worst_link() -> None:
    cells = {
        ("250kbit,1ms", "ratehold", "clean"): 10.0, ("250kbit,1ms", "ratehold", "attacked"): 30.0,
        ("250kbit,1ms", "ratehold guarded", "attacked"): 11.0, ("250kbit,9ms", "ratehold", "clean"): 20.0,
        ("250kbit,9ms", "ratehold", "attacked"): 40.0, ("250kbit,9ms", "ratehold guarded", "attacked"): 25.0,
    }  # fmt: skip
    rows = [
        LinkRow(name, variant, frames, 250.0, 4, 4, 900.0, p50, p50, 5.0, None)
        for (name, variant, frames), p50 in cells.items()
    ]
    assert link.summarise(rows) == {"attacked_slowdown": 3.0, "guarded_slowdown": 1.25}
    silent = [
        replace(row, answered=0, latency_p50_ms=None) if row.latency_p50_ms == 30.0 else row for row in rows
    ]
    assert link.summarise(silent) == {"attacked_slowdown": None, "guarded_slowdown": 1.25}


def test_mistakes_are_said(capsys: pytest.CaptureFixture[str], tiny_bundles: dict[str, Path]) -> None:
    assert link.main(["--bundle", str(tiny_bundles["fp"]), "--emulate", "fast"]) == 1
    assert "like 250kbit" in capsys.readouterr().err
