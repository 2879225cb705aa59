"""A defended frame on the GPU: how long it takes end to end, and whether denoising and the head overlap.

A frame is a prepared square of pixels on the host; it ends with y and z on the host, without entropy coding.
``frame`` is ``runtime.gpu.GpuPipeline.defended``, which waits once, at the end; ``encode`` is the whole of
``Head.encode`` with guard ``always``, its entropy coding and the host's look at the first pass included.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.common.photos import photos
from bench.common.timing import Timing, measure
from bench.gpu.cases import GpuCase
from bench.gpu.engines import ON_GPU
from runtime.bundle import Bundle
from runtime.engines import EngineOptions, GpuEngine, missing, open_engine
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head

if TYPE_CHECKING:
    from runtime.gpu import GpuPipeline

QUEUED = 50  # frames that are queued at once to see what overlaps


def cases(bundles: list[Bundle], runs: int, without_gpu: str | None) -> Iterator[GpuCase]:
    """Times and overlap of each bundle by each engine."""
    for bundle in bundles:
        for engine in ON_GPU:
            name = f"{bundle.manifest.name}, {engine}"
            reason = without_gpu or missing(engine)
            yield GpuCase("frame", name, functools.partial(times, bundle, engine, runs), reason)
            yield GpuCase("overlap", name, functools.partial(overlap, bundle, engine, runs), reason)


def open_pipeline(bundle: Bundle, engine: str) -> GpuPipeline:
    """A pipeline with engines of its own, defending as ``Defence`` does by default."""
    from runtime.gpu import GpuPipeline

    options = EngineOptions(engine)
    head = open_engine(bundle.graph("head"), options)
    shield = open_engine(bundle.graph("shield"), options) if "shield" in bundle.manifest.files else head
    assert isinstance(head, GpuEngine) and isinstance(shield, GpuEngine)
    return GpuPipeline(bundle, head, shield, Defence(), options)


def square(bundle: Bundle) -> NDArray[np.uint8]:
    """A photograph as a camera of the right size would give it."""
    return bundle.manifest.preprocess.square(photos()[0][1])


def times(bundle: Bundle, engine: str, runs: int) -> dict[str, Any]:
    """Milliseconds from pixels to latents, and from pixels to the packet."""
    image, pipeline = square(bundle), open_pipeline(bundle, engine)
    frame = measure(lambda: pipeline.defended(image), runs, warm_up=10)
    head = Head(bundle, EngineOptions(engine), guard=Guard("always", budget=None))
    head.warm_up()
    encode = measure(lambda: head.encode(image), runs, warm_up=10)
    return frame.as_row("frame_") | encode.as_row("encode_")


def overlap(bundle: Bundle, engine: str, runs: int) -> dict[str, Any]:
    """Denoising of one frame while the head looks at another, each in a stream of its own.

    overlap: what both together save, over the shorter of the two: 0 is none, 1 is that it costs nothing.
    """
    image = square(bundle)
    denoising, looking = (open_pipeline(bundle, engine) for _ in range(2))
    for pipeline in (denoising, looking):
        pipeline.defended(image)

    def both() -> None:
        denoising.denoise()
        looking.look()

    streams = (denoising.stream, looking.stream)
    spans = {
        "denoise": _queued(denoising.denoise, streams, runs),
        "head": _queued(looking.look, streams, runs),
        "both": _queued(both, streams, runs),
    }
    apart = spans["denoise"].p50 + spans["head"].p50
    saved = (apart - spans["both"].p50) / min(spans["denoise"].p50, spans["head"].p50)
    return {f"{name}_p50_ms": span.p50 / QUEUED for name, span in spans.items()} | {"overlap": saved}


def _queued(call: Callable[[], object], streams: tuple[Any, ...], runs: int) -> Timing:
    """``QUEUED`` calls at once, then a wait for all streams."""
    samples = []
    for _ in range(3 + runs // 10):
        start = time.perf_counter()
        for _ in range(QUEUED):
            call()
        for stream in streams:
            stream.synchronize()
        samples.append(time.perf_counter() - start)
    return Timing.of_seconds(samples[3:] or samples)
