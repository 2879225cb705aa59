"""What an attack costs and what the guard saves, on the photographs of the attack pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common.timing import Timing
from bench.latency.disturbances import ATTACKED, GUARDED, Disturbance
from bench.latency.frame_timing import DEVICE, LINK, BundleTimings


@dataclass(frozen=True)
class InputCost:
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
    """The inputs of ``GUARDED``, in their order, over the same ``photos`` photographs."""

    photos: int
    clean: InputCost
    clean_guarded: InputCost
    attacked: InputCost
    attacked_guarded: InputCost

    @property
    def inputs(self) -> tuple[InputCost, ...]:
        """In the order in which a reader wants them."""
        return self.clean, self.clean_guarded, self.attacked, self.attacked_guarded

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary; percentages are of the clean unguarded frame."""
        return {
            "attack_bytes_percent": 100 * (self.attacked.bytes / self.clean.bytes - 1),
            "guarded_attack_bytes_percent": 100 * (self.attacked_guarded.bytes / self.clean.bytes - 1),
            "guarded_attack_ms_p50": self.attacked_guarded.device_ms - self.attacked.device_ms,
        }


def attack_cost(timings: BundleTimings) -> AttackCost | None:
    """Of one bundle; None where none of the photographs has an attacked version."""
    names = {frame.photo for frame in timings.frames if frame.variant == ATTACKED.name}
    if not names:
        return None
    (clean, clean_guarded), (attacked, attacked_guarded) = GUARDED
    return AttackCost(
        len(names),
        _input_cost(timings, clean, names),
        _input_cost(timings, clean_guarded, names),
        _input_cost(timings, attacked, names),
        _input_cost(timings, attacked_guarded, names),
    )


def _input_cost(timings: BundleTimings, variant: Disturbance, names: set[str]) -> InputCost:
    of = [frame for frame in timings.frames if frame.variant == variant.name and frame.photo in names]
    return InputCost(
        variant=variant.name,
        bytes=float(np.median([frame.bytes for frame in of])),
        right=float(np.mean([frame.top1 == timings.uncoded_top1[frame.photo] for frame in of])),
        defended=float(np.mean([frame.defended for frame in of])),
        device_ms=Timing.of_seconds(np.concatenate([frame.total(DEVICE) for frame in of])).p50,
        link_ms=1e3 * float(np.median([frame.seconds[LINK][0] for frame in of])),
    )
