"""What the guard costs a clean frame, and how often it takes one for an attacked one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.latency.disturbances import GUARDED
from bench.latency.frame_timing import DEVICE, GUARD, BundleTimings


@dataclass(frozen=True)
class GuardCost:
    """Medians over clean photographs and runs.

    ms: the guard's own time. percent: its share of the device's time for the same frame.
    false_alarms: clean photographs that were defended, of ``photos``.
    """

    photos: int
    ms: float
    percent: float
    false_alarms: int

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary; ``guard_false_alarms`` is a share."""
        return {
            "guard_clean_ms_p50": self.ms,
            "guard_clean_percent_of_device": self.percent,
            "guard_false_alarms": self.false_alarms / self.photos,
        }


def guard_cost(timings: BundleTimings) -> GuardCost:
    """The guard's cost over all clean photographs of one bundle."""
    (_, guarded), _ = GUARDED
    frames = [frame for frame in timings.frames if frame.variant == guarded.name]
    return GuardCost(
        photos=len(frames),
        ms=1e3 * float(np.median(np.concatenate([frame.seconds[GUARD] for frame in frames]))),
        percent=100 * float(np.median(np.concatenate([f.seconds[GUARD] / f.total(DEVICE) for f in frames]))),
        false_alarms=sum(frame.defended for frame in frames),
    )
