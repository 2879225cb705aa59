"""How many bytes a packet may have so that the link is done with it when the next frame comes."""

from __future__ import annotations

from runtime.codec.packet import MAX_OVERHEAD
from runtime.head import Head
from runtime.tail import max_payload

FLOOR = 0.2
"""Of a median clean packet: with fewer bytes, fewer frames tell more than smaller ones."""

SHARE = 0.9
"""Of the time between two frames, for sending one: the rest empties the buffer."""

LEAST_STEP, MOST_STEP = 0.5, 1.25
"""The budget falls to so much of the last packet at most, and grows so much at a time."""

SMOOTHING = 0.2
"""Weight of the last interval between two frames in the mean."""


def bounds(head: Head) -> tuple[int, int]:
    """Least and most bytes that it makes sense to ask of a head."""
    clean = head.bundle.manifest.clean_quantile(0.5) / 8 + MAX_OVERHEAD
    most = head.guard.budget or max_payload(head.bundle) + MAX_OVERHEAD
    return min(most, max(head.least, int(FLOOR * clean))), most


class LinkBudget:
    """The byte budget that a measured link asks for.

    A frame for which the link took s seconds where there was time for t asks for packets of its bytes times
    t / s, within the steps above. Where s = a + bytes / rate, whatever the delay a and the rate, that has its
    only fixed point at s = t; from below it is approached, never passed. A link that cannot take the least in
    t gets the least, too late.

    Where w frames may be on their way at a time, s is a w-th of the round trip: so often one is answered. The
    round trip itself is no matter, as long as w frames fill it.

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

    def captured(self, now: float) -> None:
        """A frame was taken; seconds of any steady clock."""
        if self._last is not None:
            new = now - self._last
            old = new if self._interval is None else self._interval
            self._interval = (1 - SMOOTHING) * old + SMOOTHING * new
        self._last = now

    def sent(self, size: int, seconds: float) -> None:
        """A packet of so many bytes was answered, at the first attempt; the link took so long for it."""
        if self._interval is None:
            return
        fits = size * SHARE * self._interval / seconds
        if fits < size:
            budget = min(self.bytes, max(fits, LEAST_STEP * size))
        else:  # in time, however small: a simple picture must not take away what others need
            budget = max(self.bytes, min(fits, MOST_STEP * self.bytes))
        self.bytes = int(max(self._least, min(self._most, budget)))
