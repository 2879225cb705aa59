"""How contenders are timed beside one another."""

import time

from bench import denoise_peers
from bench.denoise_peers import rested_turns


def test_each_turn_is_a_rest_a_call_untimed_and_a_call_timed(monkeypatch):
    happened = []
    monkeypatch.setattr(denoise_peers.time, "sleep", lambda seconds: happened.append("rest"))
    rested_turns({"a": lambda: happened.append("a"), "b": lambda: happened.append("b")}, runs=2)
    assert happened == ["rest", "a", "a", "rest", "b", "b"] * 2


def test_only_the_second_call_of_a_turn_counts(monkeypatch):
    monkeypatch.setattr(denoise_peers, "PAUSE", 0.0)
    naps = iter([0.5, 0.001] * 3)
    timing = rested_turns({"a": lambda: time.sleep(next(naps))}, runs=3)["a"]
    assert timing.runs == 3
    assert timing.p50 < 400
