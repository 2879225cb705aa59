"""What an attack costs, what the guard saves, what the guard costs: on the photographs of the attack pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common.timing import Timing
from bench.latency.disturbances import ATTACKED, GUARDED, Variant
from bench.latency.frame_timing import DEVICE, GUARD, LINK, Measurement, Result


@dataclass(frozen=True)
class Line:
    """Medians over photographs and runs of one kind of input, times in ms.

    right: share of the photographs that get the class that the network gives to the clean one, uncoded.
    defended: share that was defended.
    """

    variant: str
    bytes: float
    right: float
    defended: float
    device_ms: float
    link_ms: float


@dataclass(frozen=True)
class AttackCost:
    """The lines of ``GUARDED``, in their order, over the same photographs.

    guard_ms, guard_percent: the guard's own time on a clean frame, and its share of the device's.
    """

    photos: int
    clean: Line
    clean_guarded: Line
    attacked: Line
    attacked_guarded: Line
    guard_ms: float
    guard_percent: float

    @property
    def lines(self) -> tuple[Line, ...]:
        """In the order in which a reader wants them."""
        return self.clean, self.clean_guarded, self.attacked, self.attacked_guarded

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary; percentages are of the clean unguarded frame."""
        return {
            "attack_bytes_percent": 100 * (self.attacked.bytes / self.clean.bytes - 1),
            "guarded_attack_bytes_percent": 100 * (self.attacked_guarded.bytes / self.clean.bytes - 1),
            "guarded_attack_ms_p50": self.attacked_guarded.device_ms - self.attacked.device_ms,
            "guard_clean_ms_p50": self.guard_ms,
            "guard_clean_percent_of_device": self.guard_percent,
            "guard_false_alarms": self.clean_guarded.defended,
        }


def attack_cost(result: Result) -> AttackCost | None:
    """Of one bundle; None where none of the photographs has an attacked version."""
    names = {m.photo for m in result.measurements if m.variant == ATTACKED.name}
    if not names:
        return None
    (clean, clean_guarded), (attacked, attacked_guarded) = GUARDED
    guarded = [m for m in result.measurements if m.variant == clean_guarded.name]
    shares = np.concatenate([m.seconds[GUARD] / m.total(DEVICE) for m in guarded])
    return AttackCost(
        len(names),
        _line(result, clean, names),
        _line(result, clean_guarded, names),
        _line(result, attacked, names),
        _line(result, attacked_guarded, names),
        guard_ms=1e3 * float(np.median(np.concatenate([m.seconds[GUARD] for m in guarded]))),
        guard_percent=100 * float(np.median(shares)),
    )


def _line(result: Result, variant: Variant, names: set[str]) -> Line:
    of: list[Measurement] = [m for m in result.measurements if m.variant == variant.name and m.photo in names]
    return Line(
        variant=variant.name,
        bytes=float(np.median([m.bytes for m in of])),
        right=float(np.mean([m.top1 == result.uncoded_top1[m.photo] for m in of])),
        defended=float(np.mean([m.defended for m in of])),
        device_ms=Timing.of_seconds(np.concatenate([m.total(DEVICE) for m in of])).p50,
        link_ms=1e3 * float(np.median([m.seconds[LINK][0] for m in of])),
    )
