"""How the latent of one frame is made to fit a number of bytes.

``Attempt`` is one way to send a frame. The last ones of a ladder (``runtime.guard``) give up symbols until
the expected bits fit; since the coder's bytes are not exactly those, each aims a little lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

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
    if weight == 0.0:
        return attempt
    return _with_symbols(attempt, _control(attempt.latent), weight)


def fitting(attempt: Attempt, budget: int) -> Iterator[Attempt]:
    """The attempt with its y rate-controlled by the least lambda, not less than its own, that fits ``budget``
    bytes by expectation; then by more and more, until no lambda leaves out any more bits.
    """
    control = _control(attempt.latent)
    side = sum(float(bits.sum(dtype=np.float64)) for bits in attempt.latent.bits[:-1])
    slack = 0
    while (weight := control.least_weight(8 * (budget - MIN_PACKET - slack) - side)) is not None:
        yield _with_symbols(attempt, control, max(weight, attempt.rate_weight))
        slack = 2 * slack + 1


def emptied(latent: Latent) -> Latent:
    """The latent with all symbols of y zero."""
    *side, y = latent.streams
    return replace(latent, streams=(*side, replace(y, symbols=np.zeros_like(y.symbols))))


def _control(latent: Latent) -> RateControl:
    y = latent.streams[-1]
    assert y.values is not None, "only what was encoded can be rate-controlled"
    return RateControl(y.values, y.index, y.tables)


def _with_symbols(attempt: Attempt, control: RateControl, weight: float) -> Attempt:
    *side, y = attempt.latent.streams
    latent = replace(attempt.latent, streams=(*side, replace(y, symbols=control.symbols(weight))))
    return Attempt(attempt.rung, latent, attempt.flags | Flags.RATE_CONTROLLED, weight)
