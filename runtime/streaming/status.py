"""Counts of frames by outcome, on one line of standard error."""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import dataclass

STATUS_SECONDS = 0.2
QUIET_SECONDS, REPEAT_SECONDS, REMEMBERED = 1.0, 3600.0, 16
CLEAR = "\r\x1b[K"
"""Begins a terminal's line anew."""


@dataclass
class Totals:
    """Frames by outcome: captured and left frames have one of these outcomes, or none.

    left: frames of an earlier client, found in the spool.
    defended: captured frames that were denoised.
    repeated: repetitions of requests.
    kept: frames without an outcome that the spool keeps for the next client.
    unanswered: frames without an outcome that no spool keeps: they are lost.
    unrecorded: outcomes that the full disk did not take: the next client sends these frames again.
    bytes: sum over the packets of answered frames.
    seconds: from capture to answer, for the last answered frame.
    """

    captured: int = 0
    left: int = 0
    answered: int = 0
    refused: int = 0
    dropped: int = 0
    unreadable: int = 0
    kept: int = 0
    unanswered: int = 0
    defended: int = 0
    repeated: int = 0
    unrecorded: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Status:
    """The status line: updated in place on a terminal, written once at the end elsewhere. Thread-safe."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = 0.0
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._quiet_until = -math.inf
        self._totals = Totals()

    def progress(self, totals: Totals) -> None:
        """Take the totals after a frame; show them a few times a second."""
        self._totals = totals
        if self._live and time.monotonic() >= self._next:
            self._next = time.monotonic() + STATUS_SECONDS
            self._show(f"{_counts(totals)}, {1e3 * totals.seconds:.0f} ms")

    def trouble(self, text: str) -> None:
        """Show a failure that is being handled.

        Without a terminal, one line a second at most, and the last ``REMEMBERED`` texts once an hour.
        """
        now = time.monotonic()
        with self._lock:
            if self._live:
                self._show(f"{_counts(self._totals)}; trying again: {text}")
                return
            if now < max(self._quiet_until, self._told.get(text, -math.inf) + REPEAT_SECONDS):
                return
            print(f"ratehold: trying again: {text}", file=sys.stderr, flush=True)
            self._quiet_until = now + QUIET_SECONDS
            self._told.pop(text, None)
            self._told[text] = now
            if len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self._lock:
            print(f"{CLEAR if self._live else ''}ratehold: {text}", file=sys.stderr, flush=True)

    def end(self, totals: Totals, lost: int) -> None:
        """Write the last line. lost: log lines that could not be written."""
        if self._live:
            self._show("")
        told = f", {lost} log lines lost" if lost else ""
        print(f"ratehold: {_counts(totals)}{told}", file=sys.stderr)

    def _show(self, text: str) -> None:
        print(f"{CLEAR}{text}", end="", file=sys.stderr, flush=True)


def _counts(totals: Totals) -> str:
    mean = totals.bytes / totals.answered if totals.answered else 0.0
    counts = {
        "captured": totals.captured, "left by an earlier client": totals.left,
        "answered": totals.answered, "dropped": totals.dropped, "refused": totals.refused,
        "unreadable": totals.unreadable, "kept in the spool": totals.kept, "unanswered": totals.unanswered,
        "sent again": totals.repeated, "defended": totals.defended,
        "not recorded": totals.unrecorded,
    }  # fmt: skip
    shown = [f"{n} {name}" for name, n in counts.items() if n or name in ("captured", "answered")]
    return f"{', '.join(shown)}, {mean:.0f} bytes a frame"
