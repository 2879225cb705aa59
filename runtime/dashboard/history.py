"""The last frames and the totals of a process, as JSON for its page."""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from runtime.bundle import Bundle

KEPT = 240
"""Most frames in memory."""

TOP = 5
"""Most things found in one frame."""

MAX_TEXT = 128
"""Most characters of any text that comes from outside."""

FITTED = ("fitted", "without_z", "empty")
"""Rungs of the guard's ladder on which the byte budget makes a frame smaller."""


@dataclass(frozen=True)
class Shown:
    """One frame as the page shows it.

    bytes: size of the packet, header included.
    rung: as in ``runtime.guard.decision.Rung``; from a server's packets only plain, defended or fitted.
    defended: whether the frame was denoised; a frame that is denoised first and fitted then is both.
    decision: what the guard did, in words.
    milliseconds: wall time by stage, in order.
    top: what was found, best first: name, and probability or score.
    before: bytes of the same frame without a guard; None where unknown.
    budget: most bytes of the packet; None where unknown or unlimited.
    score: the alarm's score of an attack, above 0 for a suspicious frame; None where unknown.
    outcome: ``answered``, ``refused`` or ``dropped``.
    steady: seconds of a clock that nobody adjusts, for durations.
    time: seconds since the epoch, to be shown.
    """

    identity: str
    bundle: str
    bytes: int
    rung: str
    defended: bool
    decision: str
    milliseconds: dict[str, float]
    top: tuple[tuple[str, float], ...]
    before: float | None = None
    budget: int | None = None
    score: float | None = None
    outcome: str = "answered"
    steady: float = field(default_factory=time.monotonic)
    time: float = field(default_factory=time.time)


class History:
    """The last ``KEPT`` frames and the totals. One thread adds, any thread reads.

    Args:
        role: name of the process on its page.
        bundles: the page compares a frame's bytes with the clean frames of its bundle.
    """

    def __init__(self, role: str, bundles: list[Bundle]):
        self._role, self._session = role, secrets.token_hex(8)
        self._clean = {bundle.manifest.name: _clean_bytes(bundle) for bundle in bundles}
        self._frames: deque[tuple[int, Shown]] = deque(maxlen=KEPT)
        names = ("frames", "bytes", "defended", "fitted", "answered", "refused", "dropped")
        self._totals = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def add(self, frame: Shown) -> None:
        """Remember a frame, and forget the frame ``KEPT`` places before it."""
        texts = {name: getattr(frame, name)[:MAX_TEXT] for name in ("identity", "bundle", "decision")}
        with self._lock:
            self._totals["frames"] += 1
            self._totals["bytes"] += frame.bytes
            self._totals["defended"] += frame.defended
            self._totals["fitted"] += frame.rung in FITTED
            self._totals[frame.outcome] += 1
            self._frames.append((self._totals["frames"], dataclasses.replace(frame, **texts)))

    def state(self, cursor: str = "") -> dict[str, Any]:
        """Totals and the frames since an earlier state's ``cursor``, as JSON takes them.

        Without a cursor, or with another process's cursor: all frames in memory.
        """
        with self._lock:
            after = self._after(cursor)
            fresh = [(number, frame) for number, frame in self._frames if number > after]
            totals = dict(self._totals)
        frames = [{"number": number, **dataclasses.asdict(frame)} for number, frame in fresh]
        return {
            "role": self._role, "session": self._session, "cursor": f"{self._session}.{totals['frames']}",
            "now": time.time(), "steady": time.monotonic(), "clean": self._clean, "totals": totals,
            "frames": frames,
        }  # fmt: skip

    def _after(self, cursor: str) -> int:
        session, _, number = cursor.partition(".")
        known = session == self._session and number.isascii() and number.isdigit() and len(number) < 16
        return int(number) if known else 0


def named(
    labels: tuple[str, ...] | None, ranking: Iterable[tuple[int, float]]
) -> tuple[tuple[str, float], ...]:
    """Names and shares of at most ``TOP`` things that were found; any answer of any server is taken."""
    best = islice(ranking, TOP)
    return tuple((_name(labels, c), float(p) if math.isfinite(p) else 0.0) for c, p in best)


def _name(labels: tuple[str, ...] | None, index: int) -> str:
    return labels[index][:MAX_TEXT] if labels and 0 <= index < len(labels) else f"class {index}"[:MAX_TEXT]


def _clean_bytes(bundle: Bundle) -> dict[str, float]:
    """Median and 99th percentile of the bytes of clean frames, without header."""
    bits = dict(bundle.manifest.clean_bits)
    return {name: bits[q] / 8 for name, q in (("median", 0.5), ("p99", 0.99)) if q in bits}
