"""How contenders are timed beside one another."""

import time

from bench.denoise import peers
from bench.denoise.peers import rested_turns


def test_each_turn_is_a_rest_a_call_untimed_and_a_call_timed(monkeypatch):
    happened = []
    monkeypatch.setattr(peers.time, "sleep", lambda seconds: happened.append("rest"))
    monkeypatch.setattr(peers, "WARM", 0.0)
    rested_turns({"a": lambda: happened.append("a"), "b": lambda: happened.append("b")}, runs=2)
    assert happened == ["rest", "a", "a", "rest", "b", "b"] * 2


def test_short_and_long_calls_are_warmed_for_the_same_time(monkeypatch):
    now = 0.0
    calls = {"short": 0, "long": 0}

    def take(name, seconds):
        nonlocal now
        now += seconds
        calls[name] += 1

    monkeypatch.setattr(peers.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(peers.time, "perf_counter", lambda: now)
    monkeypatch.setattr(peers, "WARM", 8.0)
    times = rested_turns({"short": lambda: take("short", 1.0), "long": lambda: take("long", 32.0)}, runs=1)
    assert calls == {"short": 8 + 1, "long": 1 + 1}
    assert times["short"].p50 == 1000.0 and times["long"].p50 == 32000.0


def test_only_the_last_call_of_a_turn_counts(monkeypatch):
    monkeypatch.setattr(peers, "PAUSE", 0.0)
    monkeypatch.setattr(peers, "WARM", 0.0)
    naps = iter([0.5, 0.001] * 3)
    timing = rested_turns({"a": lambda: time.sleep(next(naps))}, runs=3)["a"]
    assert timing.runs == 3
    assert timing.p50 < 400
