"""What the defence costs: milliseconds by step, share of the frame, bytes and classes with and without.

Steps are timed inside the defended frames themselves, so the share is taken run by run on the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.latency.disturbances import DEFENDED, Disturbance
from bench.latency.frame_timing import DEFENCE, UNDEFENDED, BundleTimings, agreement, pooled

STEPS = dict(zip(("mask", "denoise", "head", "prior", "rate_control"), DEFENCE, strict=True))


@dataclass(frozen=True)
class DefenceCost:
    """Medians over photos and runs of one kind of input.

    steps_ms: by key of ``STEPS``; ``head`` and ``prior`` are the second passes.
    ms: the steps together.
    percent: the steps together, of all else that the device does for the same frame.
    bytes, right: without and with the defence: bytes of the packet, and share of the photos that get the
        class that the network gives to the clean photo without any coding.
    """

    variant: str
    steps_ms: dict[str, float]
    ms: float
    percent: float
    bytes: tuple[float, float]
    right: tuple[float, float]

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary."""
        steps = {f"defence_{step}_ms_p50": ms for step, ms in self.steps_ms.items()}
        return {"defence_ms_p50": self.ms, "defence_percent_of_device": self.percent} | steps


def defence_costs(timings: BundleTimings) -> list[DefenceCost]:
    """One entry for each input of ``DEFENDED``, in their order."""
    return [_cost(timings, plain, defended) for plain, defended in DEFENDED]


def _cost(timings: BundleTimings, plain: Disturbance, defended: Disturbance) -> DefenceCost:
    of = [m for m in timings.frames if m.variant == defended.name]
    shares = np.concatenate([m.total(DEFENCE) / m.total(UNDEFENDED) for m in of])
    return DefenceCost(
        variant=plain.name,
        steps_ms={step: pooled(timings, defended.name, (stage,)).p50 for step, stage in STEPS.items()},
        ms=pooled(timings, defended.name, DEFENCE).p50,
        percent=100 * float(np.median(shares)),
        bytes=(median_bytes(timings, plain), median_bytes(timings, defended)),
        right=(agreement(timings, plain.name), agreement(timings, defended.name)),
    )


def median_bytes(timings: BundleTimings, variant: Disturbance) -> float:
    """Median over the photos of the bytes of one variant's packets."""
    return float(np.median([m.bytes for m in timings.frames if m.variant == variant.name]))
