"""The last frames and the totals, as the page asks for them."""

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
"""Frames that are remembered."""

TOP = 5
"""Classes of a frame."""

MAX_TEXT = 128
"""Most characters of any text that comes from outside."""


@dataclass(frozen=True)
class Shown:
    """One frame as the page shows it.

    decision: what was done to it, in the words of its packet's flags or of ``runtime.guard.decision.Rung``.
    bytes: of the packet, header included. before: what it would have cost undefended, where that is known.
    milliseconds: by stage, in order.
    top: the likeliest classes, likeliest first: name and probability.
    outcome: ``answered``, ``refused`` or ``dropped``.
    """

    identity: str
    bundle: str
    bytes: int
    defended: bool
    decision: str
    milliseconds: dict[str, float]
    top: tuple[tuple[str, float], ...]
    before: float | None = None
    outcome: str = "answered"
    time: float = field(default_factory=time.time)


class History:
    """Takes frames from one thread and is read from others.

    Args:
        role: whose page it is.
        bundles: whose clean frames the bytes are compared with.
    """

    def __init__(self, role: str, bundles: list[Bundle]):
        self._role, self._session = role, secrets.token_hex(8)
        self._clean = {bundle.manifest.name: _clean_bytes(bundle) for bundle in bundles}
        self._frames: deque[tuple[int, Shown]] = deque(maxlen=KEPT)
        self._totals = {"frames": 0, "bytes": 0, "defended": 0, "answered": 0, "refused": 0, "dropped": 0}
        self._lock = threading.Lock()

    def add(self, frame: Shown) -> None:
        """Remember a frame, and forget the one ``KEPT`` before it."""
        texts = {name: getattr(frame, name)[:MAX_TEXT] for name in ("identity", "bundle", "decision")}
        with self._lock:
            self._totals["frames"] += 1
            self._totals["bytes"] += frame.bytes
            self._totals["defended"] += frame.defended
            self._totals[frame.outcome] += 1
            self._frames.append((self._totals["frames"], dataclasses.replace(frame, **texts)))

    def state(self, cursor: str = "") -> dict[str, Any]:
        """Totals, and the frames since an earlier state's ``cursor``, for JSON.

        All that are remembered where it is another process's cursor, or none.
        """
        with self._lock:
            after = self._after(cursor)
            fresh = [(number, frame) for number, frame in self._frames if number > after]
            totals = dict(self._totals)
        frames = [{"number": number, **dataclasses.asdict(frame)} for number, frame in fresh]
        return {
            "role": self._role, "session": self._session, "cursor": f"{self._session}.{totals['frames']}",
            "now": time.time(), "clean": self._clean, "totals": totals, "frames": frames,
        }  # fmt: skip

    def _after(self, cursor: str) -> int:
        session, _, number = cursor.partition(".")
        known = session == self._session and number.isascii() and number.isdigit() and len(number) < 16
        return int(number) if known else 0


def named(
    labels: tuple[str, ...] | None, classes: Iterable[int], probabilities: Iterable[float]
) -> tuple[tuple[str, float], ...]:
    """The likeliest classes as the page shows them, ``TOP`` at most, whoever says so."""
    pairs = islice(zip(classes, probabilities, strict=False), TOP)
    return tuple((_name(labels, c), float(p) if math.isfinite(p) else 0.0) for c, p in pairs)


def _name(labels: tuple[str, ...] | None, index: int) -> str:
    return labels[index][:MAX_TEXT] if labels and 0 <= index < len(labels) else f"class {index}"[:MAX_TEXT]


def _clean_bytes(bundle: Bundle) -> dict[str, float]:
    """Median and 99th percentile of clean frames, in bytes, without header."""
    bits = dict(bundle.manifest.clean_bits)
    return {name: bits[q] / 8 for name, q in (("median", 0.5), ("p99", 0.99)) if q in bits}
