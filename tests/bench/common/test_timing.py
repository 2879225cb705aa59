"""How contenders are timed beside one another."""

import time

from bench.common import timing
from bench.common.timing import rested_turns


def test_each_turn_is_a_rest_a_call_untimed_and_a_call_timed(monkeypatch):
    happened = []
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: happened.append("rest"))
    monkeypatch.setattr(timing, "WARM", 0.0)
    rested_turns({"a": lambda: happened.append("a"), "b": lambda: happened.append("b")}, runs=2)
    assert happened == ["rest", "a", "a", "rest", "b", "b"] * 2


def test_short_and_long_calls_are_warmed_for_the_same_time(monkeypatch):
    now = 0.0
    calls = {"short": 0, "long": 0}

    def take(name, seconds):
        nonlocal now
        now += seconds
        calls[name] += 1

    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    monkeypatch.setattr(timing, "WARM", 8.0)
    times = rested_turns({"short": lambda: take("short", 1.0), "long": lambda: take("long", 32.0)}, runs=1)
    assert calls == {"short": 8 + 1, "long": 1 + 1}
    assert times["short"].p50 == 1000.0 and times["long"].p50 == 32000.0


def test_only_the_last_call_of_a_turn_counts(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(timing, "WARM", 0.0)
    naps = iter([0.1, 0.001] * 3)
    found = rested_turns({"a": lambda: time.sleep(next(naps))}, runs=3)["a"]
    assert found.runs == 3
    assert found.p50 < 80
