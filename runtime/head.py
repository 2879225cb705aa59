"""The device's half of the system: image -> packet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.clock import Clock
from runtime.codec.coder import Backend, open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import DEFAULT, Engine, EngineOptions, GpuEngine, open_engine
from runtime.errors import BudgetError, BundleError, EngineError
from runtime.guard import Guard
from runtime.guard.alarm import QUANTILE, Suspicion, Watch, open_score
from runtime.guard.budget import Attempt
from runtime.guard.decision import Counters, Decision
from runtime.guard.defence import Defender
from runtime.guard.ladder import Ladder, PreparedFrame
from runtime.latent import Latent
from runtime.preprocess import Nv12
from runtime.prior import open_prior
from runtime.prior.base import push_streams


@dataclass(frozen=True)
class Packed:
    """A latent as a packet.

    packet: what is sent.
    stream_bits: bits that each stream takes in the payload.
    """

    packet: Packet
    stream_bits: dict[str, int]


@dataclass(frozen=True)
class HeadReport:
    """What the head did with one frame. ``str`` of it is a few lines to read.

    latent: streams, expected bits and likelihood map of what was sent.
    seconds: wall time by stage, in the order in which the stages ran:

        ==============================  ==============================================================
        preprocess, head, prior         every frame; a mask of earlier frames saves head and prior
        guard                           mode ``auto``, unless a mask of earlier frames saves it
        head_adapted, prior_adapted     the frame looks corrupted
        mask, denoise                   the frame is defended; on a GPU both are only queued
        head_defended, prior_defended   the frame is defended; on a GPU head_defended waits for the two
        rate_control                    steps were coarser, or symbols were given up
        encode                          every frame
        ==============================  ==============================================================

    stream_bits: bits that each stream took in the payload.
    decision: what the guard did, and why.
    before: the latent of the first pass where another one was sent: ``before.expected_bits`` is what the
        frame would have cost. None where the first was sent, or a mask of earlier frames saved it.
    cold: it was the first frame of a Head that was not warmed up: ``seconds`` are longer than later ones.
    """

    latent: Latent
    seconds: dict[str, float]
    stream_bits: dict[str, int]
    decision: Decision
    before: Latent | None = None
    cold: bool = False

    @property
    def milliseconds(self) -> str:
        """All stages together, for people; of a cold frame it says so."""
        together = f"{1000 * sum(self.seconds.values()):.2f}"
        return f"{together} (first frame, nothing warmed up)" if self.cold else together

    def __str__(self) -> str:
        decision = self.decision
        after = " after the defence" if decision.defended and decision.rung != "defended" else ""
        budget = "no budget" if decision.budget is None else f"budget {decision.budget:,}"
        bits = f"expected bits  {self.latent.expected_bits:,.0f}"
        if self.before is not None:
            bits += f", of the first pass {self.before.expected_bits:,.0f}"
        times = ", ".join(f"{stage} {1000 * seconds:.2f}" for stage, seconds in self.seconds.items())
        return "\n".join(
            [
                f"bytes          {decision.bytes:,} ({budget})",
                f"rung           {decision.rung}{after}",
                bits,
                f"milliseconds   {self.milliseconds}: {times}",
            ]
        )


class Head:
    """Opens a bundle's device half once, then encodes frames.

    Not thread-safe: ``report`` describes the last frame, ``counters`` all of them. Use one Head a thread.

    Attributes:
        bundle: what was opened.
        guard: which frames are defended, and how.
        budget: most bytes of a packet from now on (``limit``); None: no limit.
        report: how the last frame went; None before the first.
        counters: of all frames since the Head was opened.
        engine: runs the bundle's head: a prepared frame -> y, and z with a hyperprior.
        prior: quantises what the engine returns, and says which table codes which symbol.
        coder: the entropy coder.
        alarm: a latent -> ``Suspicion``; None but in guard mode ``auto``.
        ladder: the ways to send a frame, the guard's first choice first.

    Args:
        bundle: as ``runtime.bundle.load`` returns it.
        options: engine and threads.
        coder: entropy-coder backend.
        guard: which frames to defend, how, and the most bytes of a packet; None sends frames as they are,
            without a limit.

    Raises:
        BundleError: parts of the bundle do not fit together.
        BudgetError: the guard's budget is smaller than this bundle can keep for every frame.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions | None = None,
        coder: Backend = "auto",
        guard: Guard | None = None,
    ):
        options = options or EngineOptions()
        self.bundle, self.guard = bundle, guard or Guard("never", budget=None)
        self.report: HeadReport | None = None
        self.counters = Counters()
        self._prepare: Callable[[NDArray[np.uint8] | Nv12], Any] = partial(
            bundle.manifest.preprocess, threads=options.threads
        )
        self.engine = open_engine(bundle.graph("head"), options)
        on_gpu = isinstance(self.engine, GpuEngine)
        self.prior = open_prior(bundle, replace(options, engine=DEFAULT) if on_gpu else options)
        self.coder = open_coder(coder)
        self._energy = bundle.energy()
        self.alarm = open_score(bundle) if self.guard.mode == "auto" else None
        self._watch = Watch(self.guard.hold)
        defender, shield = None, None
        if self.guard.mode != "never":
            defender = Defender(self.guard.defence, self._size, options.threads)
            shield = self._open_second("shield", options) or self.engine
        self._adapted: Engine | None = None
        if self.alarm is not None and self.guard.adapt:
            self._adapted = self._open_second("adapted", options)
        if on_gpu:
            defender, shield = self._move_to_gpu(options, defender, shield)
        ordinary = bundle.manifest.clean_quantile(QUANTILE)
        self.ladder = Ladder(self.prior, self.latent_of, ordinary, defender, shield)
        self.budget: int | None = None
        self.limit(self.guard.budget_of(bundle.manifest.budget))

    @cached_property
    def least(self) -> int:
        """Bytes of the packet of ``emptiest``: the smallest budget that every frame keeps."""
        return self.pack(self.emptiest).packet.size

    def limit(self, budget: int | None) -> None:
        """Keep another budget than the guard's from the next frame on; None: none. Raises BudgetError below
        ``least``.
        """
        if budget is not None and budget < self.least:
            raise BudgetError(
                f"bundle {self.bundle.manifest.name} cannot keep a budget of {budget} bytes for every frame: "
                f"the least is {self.least}"
            )
        self.budget = budget

    def encode(self, image: NDArray[np.uint8] | Nv12) -> Packet:
        """Encode one frame, uint8 (H, W, 3) of any size, grey, RGBA or NV12; ``report`` says how it went.

        Views are read where they lie: BGR is ``frame[:, :, ::-1]``. Raises ImageError when it is not an image
        and EngineError when the graph fails.
        """
        frame = self._open_frame(image)
        suspicion = self._suspicion(frame)
        suspicious = suspicion is not None and suspicion.attack > 0
        held = self._watch.holding and not suspicious
        self._watch.passed(suspicious)
        defend = suspicious or held or self.guard.mode == "always"
        corrupted = suspicion is not None and suspicion.corruption > 0
        adapted = self._adapted if corrupted else None
        attempts = self.ladder.attempts(
            frame, self.guard.defence, self.budget, defend, adapted, self.emptiest
        )
        for rejected, attempt in enumerate(attempts):  # noqa: B007 (counted after the loop)
            if attempt.given_up:
                frame.clock.lap("rate_control")
            packed = self.pack(attempt.latent, attempt.flags)
            frame.clock.lap("encode")
            if self.budget is None or packed.packet.size <= self.budget:
                break
        first = frame.first.latent if frame.first else None
        decision = Decision(
            mode=self.guard.mode,
            rung=attempt.rung,
            score=None if suspicion is None else suspicion.attack,
            corruption=None if suspicion is None else suspicion.corruption,
            suspicious=suspicious,
            held=held,
            defended=Flags.DENOISED in attempt.flags,
            coarseness=attempt.latent.coarseness,
            rate_weight=attempt.rate_weight,
            bytes=packed.packet.size,
            budget=self.budget,
            first=first,
            sent=attempt.latent,
        )
        self.counters = self.counters.plus(decision, over_budget=rejected > 0)
        before, cold = None if first is attempt.latent else first, self.report is None
        self.report = HeadReport(
            attempt.latent, frame.clock.seconds, packed.stream_bits, decision, before, cold
        )
        return packed.packet

    def analyse(self, image: NDArray[np.uint8] | Nv12) -> Latent:
        """The latent of one frame, neither defended nor coded; takes and raises what ``encode`` does."""
        return self.latent_of(self.engine.run(self._prepare(image)))

    def warm_up(self) -> None:
        """Encode a frame of noise by each way that this Head may take; it is not counted.

        The first real frame then pays for no compilation and no allocation.
        """
        size, counters = self._size, self.counters
        noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        self.encode(noise)
        self.forget()
        frame = self._open_frame(noise)
        if self._adapted is not None:
            self.ladder.look(self._adapted, frame.prepared, frame.clock)
        if self.ladder.defender is not None:
            self.ladder.defended(frame, frame.first)
        if self.budget is not None and frame.first is not None:
            fitted = Attempt("fitted", frame.first.latent)
            next(self.ladder.fitter.fitting([fitted], 0, self.least), None)
        self.forget()
        self.counters = counters

    def forget(self) -> None:
        """Forget earlier frames, as at a cut: their suspicion, and the masks that are reused."""
        self._watch.forget()
        if self.ladder.defender is not None:
            self.ladder.defender.forget()

    def _open_frame(self, image: NDArray[np.uint8] | Nv12) -> PreparedFrame:
        clock = Clock()
        frame = PreparedFrame(self._prepare(image), clock)
        clock.lap("preprocess")
        defender = self.ladder.defender
        if defender is not None and (self.guard.defence.reuse_mask or self._watch.holding):
            frame.mask = defender.recall_mask()
        if frame.mask is None:
            if defender is not None:
                defender.forget()
            frame.first = self.ladder.look(self.engine, frame.prepared, clock)
        return frame

    def _suspicion(self, frame: PreparedFrame) -> Suspicion | None:
        if self.alarm is None or frame.first is None:
            return None
        suspicion = self.alarm(frame.first.latent)
        frame.clock.lap("guard")
        return suspicion

    def latent_of(self, outputs: list[NDArray[np.float32]]) -> Latent:
        """What the prior makes of the head's outputs, float32 (1, C, H, W) each: y, and z with a hyperprior.

        Raises EngineError for another shape and for NaN.
        """
        return Latent(self.prior.code(*outputs), self._energy, self.bundle.manifest.latent)

    def pack(self, latent: Latent, flags: Flags = Flags.NONE) -> Packed:
        """Code a latent of this bundle as a packet with these flags; no budget is looked at."""
        encoder = self.coder.encoder(symbol_checksum(*(stream.symbols for stream in latent.streams)))
        stream_bits = push_streams(latent.streams, encoder)
        return Packed(Packet(self.bundle.id, flags, encoder.finish(), latent.coarseness), stream_bits)

    def _open_second(self, role: str, options: EngineOptions) -> Engine | None:
        """The graph of this role, tried once; None where the bundle has none."""
        if role not in self.bundle.manifest.files:
            return None
        second, head = open_engine(self.bundle.graph(role), options), self.engine
        if (second.inputs, second.outputs) == (head.inputs, head.outputs):
            try:
                self.latent_of(second.run(*(np.zeros(shape, np.float32) for _, shape in second.inputs)))
                return second
            except EngineError as error:
                raise BundleError(f"bundle {self.bundle.manifest.name}: its {role}: {error}") from error
        raise BundleError(
            f"bundle {self.bundle.manifest.name}: its {role} takes {second.inputs} and returns "
            f"{second.outputs}, its head {head.inputs} and {head.outputs}"
        )

    def _move_to_gpu(
        self, options: EngineOptions, defender: Defender | None, shield: Engine | None
    ) -> tuple[Defender | None, Engine | None]:
        """Take every step up to the latents to the GPU; returns defender and shield there."""
        from runtime.gpu import GpuDefender, GpuPipeline, OnGpu  # needs Numba-CUDA

        head, defence = self.engine, self.guard.defence
        assert isinstance(head, GpuEngine) and (shield is None or isinstance(shield, GpuEngine))
        pipeline = GpuPipeline(self.bundle, head, shield, defence, options)
        self._prepare, self.engine = pipeline.prepare, OnGpu(head, pipeline)
        if self._adapted is not None:
            assert isinstance(self._adapted, GpuEngine)
            pipeline.bind(self._adapted)
            self._adapted = OnGpu(self._adapted, pipeline)
        if defender is None or shield is None:
            return None, None
        return GpuDefender(defence, self._size, pipeline), OnGpu(shield, pipeline)

    @property
    def _size(self) -> int:
        return self.bundle.manifest.preprocess.size

    @cached_property
    def emptiest(self) -> Latent:
        """All symbols zero, y in the coarsest steps: the latent of the smallest packet there is."""
        shapes = [shape for shape in (self.bundle.manifest.latent, self.bundle.manifest.hyper) if shape]
        return self.ladder.fitter.emptied(
            self.latent_of([np.zeros((1, *shape), np.float32) for shape in shapes])
        )
