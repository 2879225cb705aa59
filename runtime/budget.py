"""How the latent of one frame is made to fit a number of bytes.

``Attempt`` is one way to send a frame. The last ones of a ladder (``runtime.guard``) give up symbols until
the expected bits fit; since the coder's bytes are not exactly those, each aims a little lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge
from operator import itemgetter

import numpy as np

from runtime.coder.stream import SEAL_BITS
from runtime.guard import Rung
from runtime.latent import Latent
from runtime.packet import MIN_PACKET, Flags
from runtime.rate_control import RateControl


@dataclass(frozen=True)
class Attempt:
    """One way to send a frame; ``rate_weight`` is the lambda of its rate control, 0 where there is none."""

    rung: Rung
    latent: Latent
    flags: Flags = Flags.NONE
    rate_weight: float = 0.0


def controlled(attempt: Attempt, weight: float) -> Attempt:
    """The attempt with its y rate-controlled by lambda ``weight``; itself where that is 0."""
    return _Fit(attempt).attempt_at(weight) if weight > 0 else attempt


def fitting(attempts: list[Attempt], budget: int) -> Iterator[Attempt]:
    """The attempts with y rate-controlled so that ``budget`` bytes are expected, or a byte less, and so on
    until none can be expected to have so few; all of them in order of their distance to y.

    Each takes the least lambda that does, not less than its own.
    """
    for _, attempt in merge(*(_Fit(one).fits(budget) for one in attempts), key=itemgetter(0)):
        yield attempt


def emptied(latent: Latent) -> Latent:
    """The latent with all symbols of y zero."""
    *side, y = latent.streams
    return replace(latent, streams=(*side, replace(y, symbols=np.zeros_like(y.symbols))))


class _Fit:
    """An attempt and what rate control can make of it."""

    def __init__(self, attempt: Attempt):
        *self._side, self._y = attempt.latent.streams
        assert self._y.values is not None, "only what was encoded can be rate-controlled"
        self._attempt, self._values = attempt, self._y.values
        self._control = RateControl(self._values, self._y.index, self._y.tables)

    def fits(self, budget: int) -> Iterator[tuple[float, Attempt]]:
        """The attempt at weights that fit a budget, or ever less, each with its squared error in steps."""
        side = sum(float(stream.information_bits().sum(dtype=np.float64)) for stream in self._side)
        room = 8 * (budget - MIN_PACKET) - SEAL_BITS - side
        while (weight := self._control.least_weight(room)) is not None:
            attempt = self.attempt_at(max(weight, self._attempt.rate_weight))
            symbols = attempt.latent.streams[-1].symbols
            yield float(np.square(self._values - symbols).sum(dtype=np.float64)), attempt
            room -= 8

    def attempt_at(self, weight: float) -> Attempt:
        """The attempt at one weight."""
        y = replace(self._y, symbols=self._control.symbols(weight))
        latent = replace(self._attempt.latent, streams=(*self._side, y))
        return Attempt(self._attempt.rung, latent, self._attempt.flags | Flags.RATE_CONTROLLED, weight)
