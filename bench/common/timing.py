"""Timing on a noisy machine: warm up, time each call on its own, report percentiles and never a mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

PAUSE = 0.03
"""Seconds of rest before a turn: longer than an OpenMP thread spins after its last work."""

WARM = 0.05
"""Seconds of untimed calls after the rest, at least one call."""


@dataclass(frozen=True)
class Timing:
    """Percentiles of the wall time of one call, in milliseconds, over ``runs`` calls."""

    p50: float
    p95: float
    p99: float
    runs: int

    @classmethod
    def of_seconds(cls, samples: Iterable[float]) -> Timing:
        """Percentiles of ``samples``, each the wall time of one call in seconds."""
        ms = np.asarray(list(samples), dtype=np.float64) * 1e3
        p50, p95, p99 = np.percentile(ms, (50, 95, 99))
        return cls(float(p50), float(p95), float(p99), int(ms.size))

    def as_row(self, prefix: str = "") -> dict[str, float]:
        """``{prefix}p50_ms``, ``p95_ms`` and ``p99_ms``."""
        return {f"{prefix}p50_ms": self.p50, f"{prefix}p95_ms": self.p95, f"{prefix}p99_ms": self.p99}


def measure(call: Callable[[], object], runs: int = 50, warm_up: int = 3) -> Timing:
    """Time ``call`` ``runs`` times after ``warm_up`` untimed calls.

    ``call`` must not return before its work is done: on a GPU it synchronises itself.
    """
    for _ in range(warm_up):
        call()
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return Timing.of_seconds(samples)


def measure_side_by_side(
    calls: dict[str, Callable[[], object]], runs: int = 50, warm_up: int = 3
) -> dict[str, Timing]:
    """Time several calls in turns, so that a noisy machine disturbs all of them alike; for ratios."""
    for call in calls.values():
        for _ in range(warm_up):
            call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
    return {name: Timing.of_seconds(values) for name, values in samples.items()}


def rested_turns(
    calls: dict[str, Callable[[], object]], runs: int, seconds: float = 0.0
) -> dict[str, Timing]:
    """Time several calls in turns, the same way for each: a rest, untimed calls for ``WARM``, timed calls.

    seconds: how long each turn is timed; at least one call is.

    Turns let a noisy machine disturb all calls alike. The rest is there because threads may spin for
    milliseconds after their work, and hold a core that the next call needs. After a rest the first
    milliseconds are slow: threads sleep, caches are cold, and the host gives an idle virtual core back late.
    So all calls are warmed for the same *time*. One untimed call may take 40 ms or 1 ms, and after 1 ms the
    timed call would still fall into the slow start.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            time.sleep(PAUSE)
            _call_for(WARM, call)
            samples[name] += _call_for(seconds, call)
    return {name: Timing.of_seconds(values) for name, values in samples.items()}


def _call_for(seconds: float, call: Callable[[], object]) -> list[float]:
    """The times of calls until ``seconds`` have passed, of one call at least."""
    begin = start = time.perf_counter()
    samples: list[float] = []
    while not samples or start < begin + seconds:
        call()
        end = time.perf_counter()
        samples.append(end - start)
        start = end
    return samples
