"""The guard: which frames are defended, and what is given up so that a packet keeps its budget.

    first pass --score--> calm: send as it is
                          attacked, or shortly after: defend
                          corrupted (snow, noise, a codec): look again, by the adapted head
    over budget?          defend, unless the frame is calm and no larger than clean ones are  >
                          coarser steps, then rate control, with z or with z all zero  >  all zero

The score needs nothing but the bits of y, which the likelihood map is made of as well. ``Guard`` says what is
wanted, ``Decision`` what was done with one frame and why; the steps themselves are in ``runtime.head``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.defence import Defence
from runtime.errors import BundleError, DefenceError
from runtime.latent import Latent

Mode = Literal["never", "always", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)

Rung = Literal["plain", "adapted", "defended", "fitted", "without_z", "empty"]
"""Where the ladder ended: sent as it was; as the adapted head sees it, because it looks corrupted;
defended; in steps so coarse that it fits the budget, and rate-controlled where the coarsest do not do, after
the defence unless it is an ordinary frame; the same with z all zero, where z alone is too dear or y comes out
nearer; all symbols zero."""


@dataclass(frozen=True)
class Suspicion:
    """What a first pass looks like.

    attack, corruption: scores; above 0 it looks like a frame that an attacker has perturbed, or like one that
        weather, a sensor or a codec has made dearer; -inf where the bundle cannot tell or the frame is cheap.
    """

    attack: float
    corruption: float = -np.inf


Score = Callable[[Latent], Suspicion]

CEILING = 1.15
"""Times the bits of ``QUANTILE``: above it a frame is suspicious whatever the discriminant says. An attacker
who knows its weights can hold it down while the bytes grow (by 65 % at 4/255 without this ceiling)."""

QUANTILE = 0.99
"""Of the bits of clean frames: the threshold without a discriminant, and the most of an ordinary frame."""

CHEAP = 0.25
"""Quantile of the bits of clean frames below which none looks corrupted: there is nothing to be saved, and
blurred frames, which the adapted head was not taught, would lose answers."""


@dataclass(frozen=True)
class Guard:
    """What a Head is to guard against. Raises DefenceError for what makes no sense.

    mode: ``auto`` defends suspicious frames, ``always`` every one, ``never`` none, whatever the budget.
    defence: how frames are defended.
    adapt: frames that only look corrupted are looked at again by the bundle's adapted head, where it has one,
        else they are sent as they are. What corruptions add is content to the network: shield and denoiser
        would lose more of its accuracy than they save (docs/results.md). ``auto`` only.
    budget: most bytes of a packet, header included, kept for every frame whatever is in it; None: no limit.
    hold: for video: so many calm frames are defended after a suspicious one (``auto`` only).
    """

    mode: Mode = "auto"
    defence: Defence = field(default_factory=Defence)
    budget: int | None = None
    hold: int = 0
    adapt: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise DefenceError(f"unknown guard mode {self.mode!r}: choose one of {', '.join(MODES)}")
        if self.budget is not None and not (isinstance(self.budget, int) and self.budget > 0):
            raise DefenceError(f"budget must be a whole number of bytes above 0, not {self.budget!r}")
        if not (isinstance(self.hold, int) and self.hold >= 0):
            raise DefenceError(f"hold must be a whole number of frames, not {self.hold!r}")
        if self.defence.reuse_mask and self.mode != "always":
            raise DefenceError(
                f"reuse_mask saves the first pass, which guard mode {self.mode!r} needs: use 'always'"
            )


@dataclass(frozen=True)
class Decision:
    """What the guard did with one frame, and why.

    mode: as in ``Guard``.
    rung: where the ladder ended; without a budget ``plain``, ``adapted`` or ``defended``.
    score, corruption: ``Suspicion`` of the first pass; None but in mode ``auto``.
    suspicious, held: it looks attacked; it does not, but follows one that does by at most ``hold``.
    defended: denoised, and looked at by the shield where there is one; by the mode or for the budget.
    coarseness: of the steps that y counts (``runtime.coarseness``); 0 where they are the bundle's.
    rate_weight: lambda of the rate control, in squared steps a bit; 0 where there was none.
    bytes: of the packet, header included.
    budget: as in ``Guard``.
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
    over_budget: that would have been over the budget as the mode alone sends them.

    A frame is never refused for its size: the emptiest packet is the same for all of them, so a budget that
    cannot be kept is refused when the Head opens.
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


class Watch:
    """Remembers suspicion over the frames of a video."""

    def __init__(self, hold: int):
        self._hold, self._left = hold, 0

    def holds(self, suspicious: bool) -> bool:
        """Take the next frame: whether it is calm but still to be defended."""
        held = not suspicious and self._left > 0
        self._left = self._hold if suspicious else max(0, self._left - 1)
        return held

    def forget(self) -> None:
        """Forget the frames before, as at a cut."""
        self._left = 0


def features(latent: Latent) -> NDArray[np.float32]:
    """What the discriminant looks at: the bits of each channel of y, all positions together, float32 (C,)."""
    return latent.streams[-1].total_bits(latent.shape[0])


@dataclass(frozen=True)
class Excess:
    """Relative excess of the expected bits over a number of them."""

    bits: float

    def __call__(self, latent: Latent) -> Suspicion:
        """Suspicion of a first pass."""
        return Suspicion(self.of(latent, features(latent)))

    def of(self, latent: Latent, y: NDArray[np.float32]) -> float:
        """The same where the bits of each channel of y are known: 20,000 prices need one look, not two."""
        rest = sum(float(stream.total_bits()[0]) for stream in latent.streams[:-1])
        return (float(y.sum()) + rest) / self.bits - 1.0


@dataclass(frozen=True)
class Discriminant:
    """Fisher's linear discriminants between clean frames and each of K kinds of corruption, fitted at export.

    weights: float32 (1 + K, C), bias: float32 (1 + K,); a score is the product with ``features``, plus the
        bias. The first one tells attacks, the others a kind of corruption each, of which the highest counts.
    ceiling: a frame also looks attacked by its excess over this many bits.
    cheap: bits; a frame that has no more does not look corrupted.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    ceiling: Excess
    cheap: float

    def __call__(self, latent: Latent) -> Suspicion:
        """Suspicion of a first pass."""
        y = features(latent)
        attack, *kinds = (self.weights @ y + self.bias).tolist()
        excess = self.ceiling.of(latent, y)
        dear = (1 + excess) * self.ceiling.bits > self.cheap
        return Suspicion(max(attack, excess), max(kinds) if kinds and dear else -np.inf)


def open_score(bundle: Bundle) -> Score:
    """How a bundle scores frames: its discriminant, or the bits of clean frames where it has none.

    Raises BundleError when either does not fit the bundle.
    """
    bits = bundle.manifest.clean_quantile(QUANTILE)
    if not 0.0 < bits < np.inf:
        raise BundleError(
            f"bundle {bundle.manifest.name}: the bits of clean frames are not known; build it again"
        )
    return _discriminant(bundle, CEILING * bits) if "guard" in bundle.manifest.files else Excess(bits)


def _discriminant(bundle: Bundle, ceiling: float) -> Discriminant:
    arrays, channels = bundle.arrays("guard"), bundle.manifest.latent[0]
    weights, bias = (np.asarray(arrays.get(name)) for name in ("discriminants", "bias"))
    shapes = ((weights, (bias.size, channels)), (bias, (bias.size,)))
    fits = bias.size and all(
        array.dtype == np.float32 and array.shape == shape and bool(np.isfinite(array).all())
        for array, shape in shapes
    )
    if not fits or set(arrays) != {"discriminants", "bias"}:
        raise BundleError(
            f"bundle {bundle.manifest.name}: its guard needs finite float32 discriminants (1 + kinds, "
            f"{channels}) and bias (1 + kinds,), no more; fit its alarm again (python -m export alarm)"
        )
    return Discriminant(weights, bias, Excess(ceiling), bundle.manifest.clean_quantile(CHEAP))
