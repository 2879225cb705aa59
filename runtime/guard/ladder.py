"""The ladder: the ways to send one frame, what the guard's mode asks for first, what fits every budget last.

    plain or adapted  ->  defended  ->  fitted, with z or with z all zero  ->  empty

The head takes the first rung whose packet keeps the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.clock import Clock
from runtime.codec.packet import Flags
from runtime.engines import Engine
from runtime.guard.budget import Attempt, Fitter
from runtime.guard.defence import Defence, Defender
from runtime.latent import Latent
from runtime.prior.base import Prior

Outputs = list[NDArray[np.float32]]
"""What a head's graph returned: y, and z with a hyperprior; float32 (1, C, H, W)."""


@dataclass(frozen=True)
class Look:
    """One pass of a graph and the prior: what the graph returned, and what the prior makes of it."""

    outputs: Outputs
    latent: Latent


@dataclass
class PreparedFrame:
    """A prepared frame on its way: the first look at it, or else the mask of earlier frames that saves it.

    prepared, mask: float32 arrays of NumPy, or on the GPU with an engine that runs there.
    """

    prepared: Any
    clock: Clock
    mask: Any = None
    first: Look | None = None


class Ladder:
    """Ways to send a frame.

    Args:
        prior: of the bundle; ``fitter`` takes from its latents what they can do without.
        latent: a head's outputs -> what the prior makes of them.
        ordinary_bits: most expected bits of an ordinary frame.
        defender: denoises; None where nothing is ever defended.
        shield: the graph that looks at a denoised frame; None with no defender.
    """

    def __init__(
        self,
        prior: Prior,
        latent: Callable[[Outputs], Latent],
        ordinary_bits: float,
        defender: Defender | None = None,
        shield: Engine | None = None,
    ):
        self.fitter, self.defender = Fitter(prior), defender
        self._latent, self._ordinary_bits, self.shield = latent, ordinary_bits, shield

    def attempts(
        self,
        frame: PreparedFrame,
        defence: Defence,
        budget: int | None,
        defend: bool,
        adapted: Engine | None,
        empty: Latent,
    ) -> Iterator[Attempt]:
        """The rungs for one frame, in order; each is computed when it is asked for.

        A frame over the budget that is ordinary otherwise gets coarser steps and no defence.

        budget: most bytes of a packet; None: no limit.
        defend: the frame looks attacked, or the mode defends all.
        adapted: the graph that takes another look at a frame that looks corrupted; None at one that does not.
        empty: the emptiest latent, the last rung.
        """
        look, flags, coarseness, weight = frame.first, Flags.NONE, 0, 0.0
        if look is not None and not defend:
            if adapted is not None:
                look = self.look(adapted, frame.prepared, frame.clock, "_adapted")
            yield Attempt("plain" if adapted is None else "adapted", look.latent)
        if self.defender is not None and (look is None or defend or not self.is_ordinary(look.latent)):
            look, flags = self.defended(frame, look), Flags.DENOISED
            coarseness, weight = defence.coarseness, defence.rate_control
            yield self.fitter.coded(Attempt("defended", look.latent, flags), coarseness, weight)
        assert look is not None and budget is not None  # without a budget one of these was sent
        smaller = [Attempt("fitted", look.latent, flags, weight)]
        if len(look.outputs) > 1:
            y, z = look.outputs
            smaller.append(Attempt("without_z", self._latent([y, np.zeros_like(z)]), flags, weight))
        yield from self.fitter.fitting(smaller, coarseness, budget)
        yield Attempt("empty", empty, flags | Flags.RATE_CONTROLLED)

    def is_ordinary(self, latent: Latent) -> bool:
        """Whether it costs no more than clean frames do."""
        return latent.expected_bits <= self._ordinary_bits

    def look(self, engine: Engine, prepared: Any, clock: Clock, suffix: str = "") -> Look:
        """One pass; ``clock`` gets its stages ``head`` and ``prior``, each with the suffix."""
        outputs = engine.run(prepared)
        clock.lap(f"head{suffix}")
        latent = self._latent(outputs)
        clock.lap(f"prior{suffix}")
        return Look(outputs, latent)

    def defended(self, frame: PreparedFrame, last: Look | None) -> Look:
        """Another look, at the frame denoised under the mask of the ``last`` one, else of earlier frames."""
        assert self.defender is not None and self.shield is not None
        if last is not None:
            frame.mask = self.defender.mask(last.latent)
        assert frame.mask is not None
        frame.clock.lap("mask")
        denoised = self.defender.denoise(frame.prepared, frame.mask)
        frame.clock.lap("denoise")
        look = self.look(self.shield, denoised, frame.clock, "_defended")
        self.defender.remember(look.latent)
        return look
