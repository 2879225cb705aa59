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


def test_a_terminal_sees_the_totals_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    status = Status()
    for _ in range(10):
        status.progress(Totals(captured=2, answered=1, bytes=300, seconds=0.25))
        now[0] += 0.1
    shown = capsys.readouterr().err.split(module.CLEAR)
    assert 5 <= len(shown) <= 6  # at once, and then every 0.2 s of these 1.0
    assert set(shown[1:]) == {"2 captured, 1 answered, 300 bytes a frame, 250 ms"}


def test_nothing_happened_is_all_zero(capsys: pytest.CaptureFixture[str]) -> None:
    Status().end(Totals(), lost=0)
    assert capsys.readouterr().err == "ratehold: 0 captured, 0 answered, 0 bytes a frame\n"
    assert set(vars(Totals()).values()) == {0}
