"""The byte budget of a packet that the link can send before the next frame comes."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.codec.packet import MAX_OVERHEAD
from runtime.head import Head
from runtime.tail import max_payload

FLOOR = 0.2
"""Smallest budget, relative to a median clean packet: below it fewer frames tell more than smaller frames."""

SHARE = 0.9
"""Share of the time between two frames that is for sending one; the rest empties the buffer."""

LEAST_STEP, MOST_STEP = 0.5, 1.25
"""Bounds of one step: the budget falls to no less than this times the last packet, and grows by no more."""

SMOOTHING = 0.2
"""Weight of the last interval between two frames in the running mean."""


@dataclass(frozen=True)
class BudgetRange:
    """The budgets, in bytes, that make sense for a head."""

    least: int
    most: int

    @classmethod
    def of(cls, head: Head) -> BudgetRange:
        """From the floor, or the head's own least, up to its budget or the largest packet."""
        clean = head.bundle.manifest.clean_quantile(0.5) / 8 + MAX_OVERHEAD
        most = head.budget or max_payload(head.bundle) + MAX_OVERHEAD
        return cls(min(most, max(head.least, int(FLOOR * clean))), most)


class LinkBudget:
    """The byte budget that follows from measured round trips.

    A packet that took s seconds where there were t asks for packets of its bytes times t / s, within the
    steps above. With s = a + bytes / rate, for any delay a and any rate, the only fixed point is s = t; it is
    approached from below, never passed. A link that cannot send the least in t gets the least, too late.

    With w frames in flight, s is a w-th of the round trip: one frame is answered every s seconds. The round
    trip itself does not matter as long as w frames fill it.

    Args:
        bounds: every budget lies in them.

    Attributes:
        bytes: the budget now; the most while no frame is late.
    """

    def __init__(self, bounds: BudgetRange):
        self._bounds = bounds
        self.bytes = bounds.most
        self._last: float | None = None
        self._interval: float | None = None

    def captured(self, now: float) -> None:
        """Note when a frame was taken, in seconds of any steady clock."""
        if self._last is not None:
            new = now - self._last
            old = new if self._interval is None else self._interval
            self._interval = (1 - SMOOTHING) * old + SMOOTHING * new
        self._last = now

    def sent(self, size: int, seconds: float) -> None:
        """Learn from a packet answered at the first attempt: its bytes, and the seconds the link took."""
        if self._interval is None:
            return
        fits = size * SHARE * self._interval / seconds
        if fits < size:
            budget = min(self.bytes, max(fits, LEAST_STEP * size))
        else:  # in time: a small packet alone is no reason to lower the budget
            budget = max(self.bytes, min(fits, MOST_STEP * self.bytes))
        self.bytes = int(max(self._bounds.least, min(self._bounds.most, budget)))
