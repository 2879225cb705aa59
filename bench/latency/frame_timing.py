"""Timing of whole frames, photo by photo and variant by variant, for one bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.timing import Timing
from bench.common.unquantised import Unquantised
from bench.latency.baselines import PICTURES, Baseline, measure_baseline
from bench.latency.cold_start import Footprint, footprint
from bench.latency.disturbances import CLEAN, VARIANTS, Disturbance
from bench.latency.energy import Energy, Meter, measure
from bench.latency.sustained import SustainedTime, sustained_time
from runtime.bundle import Bundle
from runtime.clock import Clock
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.tail import Tail

DEFENCE = ("mask", "denoise", "head_defended", "prior_defended", "rate_control")
GUARD = "guard"
DEVICE = ("preprocess", "head", "prior", GUARD, *DEFENCE, "encode")
UNDEFENDED = tuple(stage for stage in DEVICE if stage not in (GUARD, *DEFENCE))
SERVER = ("decode", "tail")
LINK = "transmit"
TOTAL = (*DEVICE, LINK, *SERVER)
WARM_UP = 3
Photos = list[tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class FrameTiming:
    """One photo in one variant.

    seconds: by stage, one float64 value a run; ``transmit`` is computed; undefended frames have no stage
        of ``DEFENCE``, unguarded ones no ``GUARD``.
    information: bits under the shipped tables, in bytes.
    top1: class index.
    defended: whether the frame was denoised.
    """

    photo: str
    variant: str
    bytes: int
    information: float
    top1: int
    defended: bool
    seconds: dict[str, NDArray[np.float64]]

    def total(self, stages: tuple[str, ...]) -> NDArray[np.float64]:
        """Seconds of several stages together, one value a run; a stage that the frame lacks counts as 0."""
        none = np.zeros_like(self.seconds[LINK])
        return np.sum([none, *(self.seconds[stage] for stage in stages if stage in self.seconds)], axis=0)


@dataclass(frozen=True)
class BundleTimings:
    """Everything measured of one bundle.

    engine: the name of the one that ran the graphs.
    uncoded_top1: by photo, the class that the network gives without any coding.
    energy: of the device's half of a clean frame; None where no power can be read.
    sustained: of frames under an attack that does not end.
    """

    bundle: Bundle
    engine: str
    frames: list[FrameTiming]
    baselines: list[Baseline]
    footprint: Footprint
    uncoded_top1: dict[str, int]
    energy: Energy | None
    sustained: SustainedTime

    @property
    def label(self) -> str:
        """Bundle and engine, for titles and keys."""
        return f"{self.bundle.manifest.name} on {self.engine}"

    @property
    def frames_of_a_kind(self) -> int:
        """Timed clean frames, over all photographs and runs."""
        return sum(len(frame.seconds[LINK]) for frame in self.frames if frame.variant == CLEAN.name)


def time_frame(head: Head, tail: Tail, image: NDArray[np.uint8], runs: int) -> dict[str, Any]:
    """Fields of a FrameTiming except names and link: ``runs`` whole frames after a few untimed ones."""
    laps: list[dict[str, float]] = []
    for _ in range(WARM_UP + runs):
        packet = head.encode(image)
        clock = Clock()
        data = packet.to_bytes()
        clock.lap("header")
        logits = tail.decode(data)
        assert head.report is not None and tail.report is not None
        lap = head.report.seconds | tail.report.seconds
        lap["encode"] += clock.seconds["header"]
        laps.append(lap)
    timed = laps[WARM_UP:]
    assert head.report is not None
    return {
        "bytes": len(data),
        "information": head.report.latent.expected_bits / 8,
        "top1": int(logits.argmax()),
        "defended": head.report.decision.defended,
        "seconds": {stage: np.array([lap[stage] for lap in timed]) for stage in timed[0]},
    }


def time_variant(
    head: Head, tail: Tail, photo: tuple[str, NDArray[np.uint8]], variant: Disturbance, runs: int, link: float
) -> FrameTiming | None:
    """One photo in one variant, None where it has none; ``link`` in kbit/s."""
    name, image = photo
    if variant.disturb is not None:
        disturbed = variant.disturb(name, head.bundle.manifest.preprocess.square(image))
        if disturbed is None:
            return None
        image = disturbed
    fields = time_frame(head, tail, image, runs)
    fields["seconds"][LINK] = np.full(runs, transmit_seconds(fields["bytes"], link))
    return FrameTiming(name, variant.name, **fields)


def transmit_seconds(size: int, link: float) -> float:
    """Seconds that ``size`` bytes take at ``link`` kbit/s, without latency and protocol overhead."""
    return 8 * size / (1e3 * link)


def time_bundle(
    bundle: Bundle,
    chosen: Photos,
    engine: EngineOptions,
    runs: int,
    link: float,
    advance: Callable[[str], object],
    meter: Meter | None = None,
) -> BundleTimings:
    """Measure one bundle.

    advance: called with the name of each step before it begins, ``steps`` times.
    meter: measures the power over a loop of some seconds, too.
    """
    heads = {variant.guard: Head(bundle, engine, guard=variant.guard) for variant in VARIANTS}
    tail, network = Tail(bundle, engine), Unquantised(bundle, engine)
    prepare = bundle.manifest.preprocess.square
    frames, baselines = [], []
    for name, image in chosen:
        for variant in VARIANTS:
            advance(f"{name}, {variant.name}")
            timed = time_variant(heads[variant.guard], tail, (name, image), variant, runs, link)
            if timed is not None:
                frames.append(timed)
            if variant is CLEAN:
                target = frames[-1].bytes
        for codec in PICTURES:
            advance(f"{name}, {codec.name}")
            baselines.append(measure_baseline(codec, name, prepare(image), target, network, runs))
    uncoded = {name: int(network.logits(prepare(image)).argmax()) for name, image in chosen}
    advance("cold start")
    fresh = footprint(bundle.folder.resolve(), engine.engine, engine.threads)
    energy = measure(meter, lambda: heads[None].encode(chosen[0][1])) if meter else None
    sustained = sustained_time(bundle, chosen, engine, runs)
    return BundleTimings(bundle, engine.engine, frames, baselines, fresh, uncoded, energy, sustained)


def steps(chosen: Photos) -> int:
    """Number of calls of ``advance`` by ``time_bundle``."""
    return len(chosen) * (len(VARIANTS) + len(PICTURES)) + 1


def pooled(timings: BundleTimings, variant: str, stages: tuple[str, ...]) -> Timing:
    """Percentiles of the stages' sum over all photos and runs of one variant."""
    return Timing.of_seconds(
        np.concatenate([m.total(stages) for m in timings.frames if m.variant == variant])
    )


def agreement(timings: BundleTimings, variant: str) -> float:
    """Share of photos to which packets of one variant give the class that the uncoded clean photo has."""
    of = [m.top1 == timings.uncoded_top1[m.photo] for m in timings.frames if m.variant == variant]
    return sum(of) / len(of)
