"""How many bytes a packet may have so that the link is done with it when the next frame comes."""

from __future__ import annotations

from runtime.head import Head
from runtime.packet import MAX_OVERHEAD
from runtime.tail import max_payload

SHARE = 0.9
"""Of the time between two frames, for sending one: the rest empties the buffer."""

LEAST_STEP, MOST_STEP = 0.5, 1.25
"""A packet's bytes are followed by a budget of so many times them at least, and at most."""

SMOOTHING = 0.2
"""Weight of the last interval between two frames in the mean."""


class LinkBudget:
    """The byte budget that a measured link asks for.

    A frame that took s seconds to be answered where there was time for t is followed by packets of its bytes
    times t / s, within the steps above. Where s = a + bytes / rate, whatever the delay a and the rate, that
    has its only fixed point at s = t. A link that cannot take the least in t gets the least, too late.

    Args:
        least, most: bytes; between them lies every budget.

    Attributes:
        bytes: the budget now; ``most`` while nothing is late.
    """

    def __init__(self, least: int, most: int):
        self._least, self._most = least, most
        self.bytes = most
        self._last: float | None = None
        self._interval: float | None = None

    @classmethod
    def of(cls, head: Head) -> LinkBudget:
        """From half of the median clean packet, below which fewer frames tell more than smaller ones, to the
        budget of the head's guard.
        """
        most = head.guard.budget or max_payload(head.bundle) + MAX_OVERHEAD
        median = dict(head.bundle.manifest.clean_bits).get(0.5, 0.0) / 8
        return cls(min(most, max(head.least, int(median / 2))), most)

    def captured(self, now: float) -> None:
        """A frame was taken; seconds of any steady clock."""
        if self._last is not None:
            new = now - self._last
            old = new if self._interval is None else self._interval
            self._interval = (1 - SMOOTHING) * old + SMOOTHING * new
        self._last = now

    def sent(self, size: int, seconds: float) -> None:
        """A packet of so many bytes was answered, at the first attempt, so many seconds after it was sent."""
        if self._interval is None:
            return
        step = min(MOST_STEP, max(LEAST_STEP, SHARE * self._interval / seconds))
        bound = min if step < 1 else max  # in time: a simple picture must not take away what others need
        self.bytes = max(self._least, min(self._most, bound(self.bytes, int(size * step))))
