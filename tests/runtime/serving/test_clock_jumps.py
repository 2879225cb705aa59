"""Clocks are set while a server runs: only the times in its log may show it."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest

from runtime.streaming.connection import Address, Connection
from runtime.streaming.sender import Sender
from tests.runtime.serving.running import Start
from tests.runtime.serving.test_service import Gate, body, post, until

HOUR = 3600.0


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the wall clock shows another decade."""
    jumps = itertools.cycle([0.0, 5e8, -9e8, 2e9, -1.0])
    now = time.time
    monkeypatch.setattr(time, "time", lambda: max(0.0, now() + next(jumps)))


def test_nothing_but_the_log_looks_at_the_wall_clock(
    start: Start, packets: dict[str, bytes], tmp_path: Path, jumping: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tmp_path / "jumps.jsonl", timeout=0.5, workers=1)
    link = Connection(Address.of(server.http, 5.0))
    for number in range(5):  # known again, however old the answer seems
        for _ in range(2):
            assert Sender(link).send(f"camera-{number}", packets["fp"]).attempts == 1
    link.close()
    assert server.metric("ratehold_repeated_requests_total") == 5
    gate, begin = Gate(monkeypatch), time.monotonic()
    status, answer, _ = post(server, *body(packets["fp"], "slow"))
    assert status == 504 and 0.5 <= time.monotonic() - begin < 3 and "0.5 s" in answer["error"]
    gate.open.set()
    until(lambda: server.server.service.pending == 0)
    assert post(server, *body(packets["fp"], "slow"))[0] == 200
    begin = time.monotonic()
    server.call(server.server.service.drain())
    assert time.monotonic() - begin < 3
    server.log.close()
    times = [json.loads(line)["time"] for line in (tmp_path / "jumps.jsonl").read_text().splitlines()]
    assert max(times) - min(times) > 24 * HOUR  # the clock did jump
