"""What a client says on standard error: enough, and not without end."""

from __future__ import annotations

import pytest

from runtime.streaming import status as module
from runtime.streaming.status import Status, Totals


def test_trouble_is_said_once_whoever_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    status = Status()
    for _ in range(1000):  # two senders with two troubles
        status.trouble("refused")
        status.trouble("timed out")
        now[0] += 1.0
    assert capsys.readouterr().err == "ratehold: trying again: refused\nratehold: trying again: timed out\n"
    now[0] += 3600.0
    status.trouble("refused")
    assert capsys.readouterr().err == "ratehold: trying again: refused\n"


def test_a_peer_with_many_words_fills_no_disk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    status = Status()
    for number in range(1000):
        status.trouble(f"503 {number}")
        now[0] += 0.01
    assert capsys.readouterr().err.count("\n") <= 11
    assert len(status._told) <= module.REMEMBERED


def test_the_last_line_counts_what_is_kept_and_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    Status().end(Totals(captured=9, answered=4, kept=3, unanswered=2, bytes=400), lost=1)
    said = capsys.readouterr().err
    assert said == (
        "ratehold: 9 captured, 4 answered, 3 kept in the spool, 2 unanswered, 100 bytes a frame, "
        "1 log lines lost\n"
    )
