"""Timing on a noisy machine: warm up, time each call on its own, report percentiles and never a mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


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
