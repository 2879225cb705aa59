"""The client with a spool: killed, with a full disk, stopped."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import load
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming import pipeline as module
from runtime.streaming.buffer import Buffer, Policy
from runtime.streaming.connection import ServerAnswer
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import shots
from runtime.streaming.spool import OUTCOMES, Spool
from tests.runtime.streaming.server_process import ROOT, ServerProcess
from tests.runtime.streaming.test_stream import FRAMES, stream, until

FULL = OSError(errno.ENOSPC, "No space left on device")
NAMES = [f"{number}.png" for number in range(6)]


class Answers:
    """A link on which everything is answered, but what is told to fail."""

    def __init__(self, *failures: BaseException):
        self.failures, self.sent = list(failures), []  # type: ignore[var-annotated]

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        self.sent.append(identity)
        if self.failures:
            raise self.failures.pop(0)
        return ServerAnswer({"top_classes": [1], "top_probabilities": [1.0]})

    def close(self) -> None:
        pass


def outcomes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / OUTCOMES).read_text().splitlines()]


def pipeline(
    bundle: Path, pictures: Path, folder: Path, link: Answers, policy: Policy, trouble: list[str]
) -> tuple[StreamPipeline, Spool]:
    spool = Spool(folder)
    buffer: Buffer[module.Encoded] = Buffer(10, policy)
    log = JsonLog(folder / "log.jsonl")
    head = Head(load(bundle))
    return StreamPipeline(
        shots(str(pictures)), head, [Sender(link)], buffer, log, spool, trouble.append
    ), spool


def test_a_client_that_is_killed_sends_the_rest_when_it_is_back(
    serve: Callable[..., ServerProcess], pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    server, spool = serve(), tmp_path / "spool"
    nowhere = "127.0.0.1:9"  # nothing listens there: frames pile up
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(pictures), "--to", nowhere]
    command += ["--bundle", str(tiny_bundles["fp"]), "--guard", "never", "--spool", str(spool)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as client:
        until(lambda: len(list(spool.glob("*.frame"))) == 6, 20)
        client.kill()
    assert (
        stream(
            pictures / "0.png", server.address, tiny_bundles["fp"], tmp_path / "log", "--spool", str(spool)
        )
        == 0
    )
    told = outcomes(spool)
    assert sorted(line["frame"] for line in told) == sorted([*NAMES, "0.png"])
    assert len({line["id"] for line in told}) == 7 and {line["event"] for line in told} == {"answered"}
    assert server.metrics()[FRAMES] == 7 and not list(spool.glob("*.frame"))


def test_what_was_not_sent_when_the_client_ends_stays(
    pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    first, spool = pipeline(tiny_bundles["fp"], pictures, tmp_path, Answers(KeyboardInterrupt()), "block", [])
    with pytest.raises(KeyboardInterrupt):
        first.run()
    spool.close()
    left = len(list(tmp_path.glob("*.frame")))
    assert left == first.totals.captured
    again, spool = pipeline(tiny_bundles["fp"], pictures, tmp_path, Answers(), "block", [])
    again.run()
    spool.close()
    assert again.totals.left == left >= 1 and len(outcomes(tmp_path)) == left + 6


@pytest.mark.parametrize("policy", ["block", "drop-oldest"])
def test_a_spool_without_room_waits_or_drops_and_says_so(
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: Policy,
) -> None:
    monkeypatch.setattr(module, "FULL_SECONDS", 0.01)
    trouble: list[str] = []
    stream, spool = pipeline(tiny_bundles["fp"], pictures, tmp_path, Answers(), policy, trouble)
    add, failures = spool.add, [FULL, FULL]

    def full_at_first(frame: Any) -> Any:
        if failures:
            raise failures.pop()
        return add(frame)

    monkeypatch.setattr(spool, "add", full_at_first)
    stream.run()
    spool.close()
    assert trouble == ["spool: No space left on device"] * 2
    lost = 0 if policy == "block" else 2
    assert stream.totals.dropped == lost and stream.totals.answered == 6 - lost
    assert [line["frame"] for line in outcomes(tmp_path)] == NAMES[lost:]


def test_an_outcome_without_room_is_asked_for_again(
    pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble: list[str] = []
    stream, spool = pipeline(tiny_bundles["fp"], pictures, tmp_path, Answers(), "block", trouble)
    monkeypatch.setattr(spool, "_record", lambda _: (_ for _ in ()).throw(FULL))
    stream.run()
    spool.close()
    assert stream.totals.unrecorded == 6 and len(trouble) == 6 and not outcomes(tmp_path)
    again, spool = pipeline(tiny_bundles["fp"], pictures / "0.png", tmp_path, Answers(), "block", [])
    again.run()
    spool.close()
    assert [line["frame"] for line in outcomes(tmp_path)] == [*NAMES, "0.png"]


def test_calm_frames_are_defended_after_a_suspicious_one(
    pictures: Path,
    robust_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "1.png")
    to, bundle = "127.0.0.1:9", robust_bundles["fp"]
    server = ServerProcess([bundle], tmp_path / "server.jsonl", 0)
    try:
        for hold, defended in (("0", ["1.png"]), ("2", ["1.png", "2.png", "3.png"])):
            log = tmp_path / f"hold-{hold}"
            assert stream(pictures, server.address, bundle, log, "--guard", "auto", "--hold", hold) == 0
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            # Answers of frames that were on their way together come in any order.
            assert sorted(line["frame"] for line in lines if line["rung"] == "defended") == defended
    finally:
        server.kill()
    with pytest.raises(SystemExit):
        stream(pictures, to, bundle, tmp_path / "log", "--hold", "2")  # with --guard never
    assert "it needs --guard auto" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_the_same_command_goes_on(
    pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path, number: signal.Signals
) -> None:
    spool = tmp_path / "spool"
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(pictures), "--to", "127.0.0.1:9"]
    command += ["--bundle", str(tiny_bundles["fp"]), "--guard", "never", "--spool", str(spool)]
    with subprocess.Popen(
        [*command, "--drain", "0.3"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as client:
        until(lambda: len(list(spool.glob("*.frame"))) == 6, 20)
        client.send_signal(number)
        _, said = client.communicate(timeout=20)
    assert client.returncode == 0 and "Traceback" not in said
    totals, last = said.splitlines()[-2:]
    assert "6 captured, 0 answered, 6 kept in the spool" in totals
    kept = f"unanswered frames are kept in {spool}: the same command goes on from there"
    assert last == f"ratehold: stopped; {kept}" and len(list(spool.glob("*.frame"))) == 6


def test_without_a_spool_unanswered_frames_are_an_error(
    pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(pictures), "--to", "127.0.0.1:9"]
    command += ["--bundle", str(tiny_bundles["fp"]), "--guard", "never", "--log", str(log), "--drain", "0.1"]
    with subprocess.Popen([*command, "--fps", "20"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as client:
        assert client.stderr is not None
        assert "Connection refused" in client.stderr.readline()
        client.send_signal(signal.SIGTERM)
        said = client.stderr.read()
    assert client.returncode == 1 and "Traceback" not in said and "--spool DIR keeps" in said.splitlines()[-1]
    assert {json.loads(line)["event"] for line in log.read_text().splitlines()} == {"unanswered"}
