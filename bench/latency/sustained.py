"""The device's time of a frame while an attacker makes the guard defend every one, beside a clean frame's.

Under ``hold`` the guard looks twice at one frame in ``hold`` + 1 and once at the others, so the time has a
bound that holds whatever the attacker sends. Clean and attacked frames take turns on the same head's graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.attack_pack import attacked
from bench.latency.disturbances import sign_noise
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.alarm import Suspicion
from runtime.guard.decision import HOLD
from runtime.head import Head
from runtime.latent import Latent


@dataclass(frozen=True)
class SustainedTime:
    """Median milliseconds of a clean frame, of one that is looked at and defended, and of one that is held.

    most_bytes: of the largest packet.
    """

    clean_ms: float
    looked_ms: float
    held_ms: float
    most_bytes: int

    @property
    def ratio(self) -> float:
        """Time of a frame under sustained attack, in the mean over a look and its hold, over a clean one."""
        return (self.looked_ms + HOLD * self.held_ms) / (HOLD + 1) / self.clean_ms

    def as_summary(self) -> dict[str, Any]:
        """Keys of a report's summary."""
        return {
            "sustained_time_ratio": self.ratio,
            "worst_time_ratio": self.looked_ms / self.clean_ms,
            "sustained_held_ms_p50": self.held_ms,
            "sustained_bytes_max": self.most_bytes,
        }


def sustained_time(
    bundle: Bundle, photos: Sequence[tuple[str, NDArray[np.uint8]]], engine: EngineOptions, runs: int
) -> SustainedTime:
    """Encode clean and attacked frames in turns, ``runs`` times a look and its hold.

    The alarm rings at each look, as an attacker who knows it can have it. Frames are those of the attack
    pack, and noise for photographs that it lacks.
    """
    squares = [(name, bundle.manifest.preprocess.square(image)) for name, image in photos]
    frames = [(square, _disturbed(name, square)) for name, square in squares]
    clean, attacked_head = (Head(bundle, engine, guard=Guard(hold=HOLD)) for _ in range(2))
    _ring(attacked_head)
    for head in (clean, attacked_head):
        head.warm_up()
    seconds: dict[str, list[float]] = {"clean": [], "looked": [], "held": []}
    most = 0
    for number in range(runs * (HOLD + 1)):
        ordinary, disturbed = frames[number % len(frames)]
        for head, frame in ((clean, ordinary), (attacked_head, disturbed)):
            most = max(most, head.encode(frame).size)
            assert head.report is not None
            held = head.report.decision.held
            kind = "clean" if head is clean else "held" if held else "looked"
            seconds[kind].append(sum(head.report.seconds.values()))
    medians = {f"{kind}_ms": 1e3 * float(np.median(seconds[kind])) for kind in seconds}
    return SustainedTime(**medians, most_bytes=most)


def _disturbed(name: str, square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = attacked(name, square)
    return sign_noise(square) if found is None else found


def _ring(head: Head) -> None:
    alarm = head.alarm
    assert alarm is not None

    def ringing(latent: Latent) -> Suspicion:
        return replace(alarm(latent), attack=1.0)

    head.alarm = ringing
