"""How the latent of one frame is made to fit a number of bytes.

``Attempt`` is one way to send a frame. The last rungs of the ladder (``runtime.guard.ladder``) take coarser
steps until the expected bits fit, and give up symbols where the coarsest do not. The coder's bytes differ a
little from the expected bits, so each attempt aims lower than the one before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge
from operator import attrgetter

import numpy as np

from runtime.codec.coarseness import COARSEST, factor
from runtime.codec.packet import MIN_PACKET, Flags
from runtime.codec.rate_control import RateControl, control_rate
from runtime.codec.stream import SEAL_BITS
from runtime.guard.decision import Rung
from runtime.latent import Latent
from runtime.prior.base import Prior, Stream


@dataclass(frozen=True)
class Attempt:
    """One way to send a frame; ``rate_weight`` is the lambda of its rate control, 0 where there is none."""

    rung: Rung
    latent: Latent
    flags: Flags = Flags.NONE
    rate_weight: float = 0.0

    @property
    def given_up(self) -> bool:
        """Whether something of y was given up for bytes."""
        return self.latent.coarseness > 0 or Flags.RATE_CONTROLLED in self.flags


@dataclass(frozen=True)
class _Fit:
    """An attempt, and the squared error of its y in steps of the bundle."""

    error: float
    attempt: Attempt


class Fitter:
    """Takes from the latents of one prior what they can do without; each is as ``Prior.code`` returned it."""

    def __init__(self, prior: Prior):
        self._prior = prior

    def coded(self, attempt: Attempt, coarseness: int, weight: float) -> Attempt:
        """The attempt with its y in coarser steps and rate-controlled by lambda ``weight``; itself at 0."""
        if coarseness == 0 and weight == 0:
            return attempt
        return _sent(attempt, self._prior.coarser(attempt.latent.streams[-1], coarseness), weight)

    def fitting(self, attempts: list[Attempt], coarseness: int, budget: int) -> Iterator[Attempt]:
        """The attempts at ``budget`` expected bytes, then at ever fewer, in order of their distance to y.

        Each takes the finest steps that fit, not finer than ``coarseness``, at its own lambda. Where even the
        coarsest steps do not fit, it takes these and the least lambda that does.
        """
        fits = (self._fits(attempt, coarseness, budget) for attempt in attempts)
        for fit in merge(*fits, key=attrgetter("error")):
            yield fit.attempt

    def emptied(self, latent: Latent) -> Latent:
        """The latent with all symbols of y zero, in the coarsest steps."""
        y = self._prior.coarser(latent.streams[-1], COARSEST)
        return _with(latent, replace(y, symbols=np.zeros_like(y.symbols)))

    def _fits(self, attempt: Attempt, finest: int, budget: int) -> Iterator[_Fit]:
        """The attempt at steps and weights that fit a budget, then ever smaller ones."""
        *side, y = attempt.latent.streams
        rest = sum(float(stream.total_bits()[0]) for stream in side)
        room = 8 * (budget - MIN_PACKET) - SEAL_BITS - rest

        def bits(coarseness: int) -> float:
            stream = self._prior.coarser(y, coarseness)
            return float(_controlled(stream, attempt.rate_weight).total_bits()[0])

        while finest <= COARSEST:
            # Each step takes fewer bits, apart from rounding, so the first that fits is found by bisection.
            finest += bisect_left(range(finest, COARSEST + 1), -room, key=lambda c: -bits(c))
            if finest <= COARSEST:
                found = _sent(attempt, self._prior.coarser(y, finest), attempt.rate_weight)
                yield _Fit(_error(y, found), found)
                finest += 1
        coarsest = self._prior.coarser(y, COARSEST)
        assert coarsest.values is not None
        control = RateControl(coarsest.values, coarsest.index, coarsest.tables)
        while (weight := control.least_weight(room)) is not None:
            found = _sent(attempt, coarsest, max(weight, attempt.rate_weight))
            yield _Fit(_error(y, found), found)
            room -= 8


def _controlled(y: Stream, weight: float) -> Stream:
    if weight == 0:
        return y
    assert y.values is not None, "only what was encoded can be rate-controlled"
    return replace(y, symbols=control_rate(y.values, y.index, y.tables, weight))


def _sent(attempt: Attempt, y: Stream, weight: float) -> Attempt:
    flags = attempt.flags | (Flags.RATE_CONTROLLED if weight > 0 else Flags.NONE)
    return Attempt(attempt.rung, _with(attempt.latent, _controlled(y, weight)), flags, weight)


def _with(latent: Latent, y: Stream) -> Latent:
    return replace(latent, streams=(*latent.streams[:-1], y))


def _error(y: Stream, attempt: Attempt) -> float:
    sent = attempt.latent.streams[-1]
    steps = factor(sent.coarseness)
    assert y.values is not None
    return float(np.square(y.values - sent.symbols * steps).sum(dtype=np.float64))
