"""Elapsed time by stage, by a clock that no adjustment of the date moves."""

from __future__ import annotations

import time


class Clock:
    """A stopwatch. ``seconds``: the sum of the laps of each stage, in the order of their first laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Add the seconds since the last lap, or since the start, to ``stage``."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
