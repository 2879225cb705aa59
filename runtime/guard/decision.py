"""What a guard is asked for, what it did with one frame, and how often it did what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from runtime.errors import DefenceError
from runtime.guard.defence import Defence
from runtime.latent import Latent

Mode = Literal["never", "always", "auto"]
Budget = int | Literal["bundle"] | None
HOLD = 7
"""Of ``ratehold stream``: a frame under an attack that does not end takes 1.2 times a clean one's time."""

MODES: tuple[Mode, ...] = get_args(Mode)

Rung = Literal["plain", "adapted", "defended", "fitted", "without_z", "empty"]
"""Where the ladder ended.

    plain       as the head sees it
    adapted     as the adapted head sees it, because the frame looks corrupted
    defended    denoised, as the shield sees it
    fitted      in coarser steps that fit the budget, rate-controlled where the coarsest do not; after the
                defence, unless the frame is ordinary
    without_z   fitted with z all zero, because z alone is too dear or y comes out nearer
    empty       all symbols zero
"""


@dataclass(frozen=True)
class Guard:
    """What a Head is to guard against. Raises DefenceError for what makes no sense.

    mode: ``auto`` defends suspicious frames, ``always`` every one, ``never`` none, whatever the budget.
    defence: how frames are defended.
    adapt: the bundle's adapted head, if any, looks again at frames that only look corrupted; else they are
        sent as they are. Shield and denoiser would cost them more accuracy than they save
        (docs/results.md). ``auto`` only.
    budget: most bytes of a packet, header included, for every frame whatever it shows; ``bundle``: the one in
        its manifest, if any; None: no limit.
    hold: for video: so many frames after a suspicious one are defended as well, under the mask of the frames
        before and without a first pass of their own (``auto`` only). The next one is looked at again.
    """

    mode: Mode = "auto"
    defence: Defence = field(default_factory=Defence)
    budget: Budget = "bundle"
    hold: int = 0
    adapt: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise DefenceError(f"unknown guard mode {self.mode!r}: choose one of {', '.join(MODES)}")
        number = self.budget if isinstance(self.budget, int) else 0
        if self.budget not in ("bundle", None) and number <= 0:
            raise DefenceError(f"budget must be a whole number of bytes above 0, not {self.budget!r}")
        if not (isinstance(self.hold, int) and self.hold >= 0):
            raise DefenceError(f"hold must be a whole number of frames, not {self.hold!r}")
        if self.defence.reuse_mask and self.mode != "always":
            raise DefenceError(
                f"reuse_mask saves the first pass, which guard mode {self.mode!r} needs: use 'always'"
            )

    def budget_of(self, bundles_own: int | None) -> int | None:
        """Most bytes of a packet, given what the bundle's manifest says; None: no limit."""
        return bundles_own if self.budget == "bundle" else self.budget


@dataclass(frozen=True)
class Decision:
    """What the guard did with one frame, and why.

    mode: as in ``Guard``.
    rung: where the ladder ended; without a budget ``plain``, ``adapted`` or ``defended``.
    score, corruption: ``Suspicion`` of the first pass; None but in mode ``auto``, and for held frames.
    suspicious: the frame looks attacked.
    held: it follows one that does by at most ``hold`` frames, and was not looked at itself.
    defended: denoised and seen by the shield, or by the head in a bundle without one.
    coarseness: of the steps of y (``runtime.codec.coarseness``); 0 where they are the bundle's.
    rate_weight: lambda of the rate control, in squared steps a bit; 0 where there was none.
    bytes: of the packet, header included.
    budget: most bytes that it may have; None: no limit.
    first: latent of the first pass; None where a mask of earlier frames saved it.
    sent: latent in the packet.
    """

    mode: Mode
    rung: Rung
    score: float | None
    corruption: float | None
    suspicious: bool
    held: bool
    defended: bool
    coarseness: int
    rate_weight: float
    bytes: int
    budget: int | None
    first: Latent | None = field(repr=False, compare=False)
    sent: Latent = field(repr=False, compare=False)

    @property
    def expected_bits_before(self) -> float | None:
        """Information content of the frame as it came; None where nobody looked at it."""
        return None if self.first is None else self.first.expected_bits

    @property
    def expected_bits(self) -> float:
        """Information content of what was sent."""
        return self.sent.expected_bits


@dataclass(frozen=True)
class Counters:
    """Frames of one Head since it was opened, those of its warm-up left out.

    frames: encoded.
    suspicious, held, defended: as in ``Decision``.
    rate_controlled: in coarser steps, or with symbols given up.
    over_budget: over the budget as the mode alone would have sent them.

    No frame is refused for its size: the emptiest packet is the same for all, so a Head refuses a budget that
    it cannot keep when it opens.
    """

    frames: int = 0
    suspicious: int = 0
    held: int = 0
    defended: int = 0
    rate_controlled: int = 0
    over_budget: int = 0

    def plus(self, decision: Decision, over_budget: bool) -> Counters:
        """The counters after one more frame."""
        controlled = decision.coarseness > 0 or decision.rate_weight > 0 or decision.rung == "without_z"
        return Counters(
            self.frames + 1,
            self.suspicious + decision.suspicious,
            self.held + decision.held,
            self.defended + decision.defended,
            self.rate_controlled + controlled,
            self.over_budget + over_budget,
        )
