"""Wall time by stage."""

from __future__ import annotations

import time


class Clock:
    """``lap(stage)`` books the time since the last lap; ``seconds`` holds the sums, first booked first."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the seconds since the last lap, or since the start, on ``stage``."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
