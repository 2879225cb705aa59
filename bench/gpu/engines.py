"""Engines on the GPU against ONNX Runtime on the CPU: latents, packets, and decoding."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.progress import Progress

from bench.common.photos import photos
from bench.engines.comparison import compare
from bench.gpu.cases import GpuCase, progress
from runtime.bundle import Bundle
from runtime.engines import DEFAULT, ENGINES, EngineOptions, missing, open_engine
from runtime.guard import Guard
from runtime.guard.decision import Mode
from runtime.head import Head
from runtime.tail import Tail

ON_GPU = tuple(name for name in ENGINES if name != DEFAULT)


def cases(bundles: list[Bundle], frames: int, without_gpu: str | None) -> Iterator[GpuCase]:
    """Latents and packets of each bundle by each engine, and decoding of each bundle by all of them."""
    for bundle in bundles:
        name = bundle.manifest.name
        for engine in ON_GPU:
            reason = without_gpu or missing(engine)
            run = functools.partial(latents, bundle, engine)
            yield GpuCase("latents", f"{name}, {engine}", run, reason)
            for mode in ("never", "always"):
                packed = functools.partial(packets, bundle, engine, mode)
                yield GpuCase("packets", f"{name}, {engine}, guard {mode}", packed, reason)
        reasons = [missing(engine) for engine in ON_GPU]
        reason = without_gpu or ("; ".join(r for r in reasons if r) if all(reasons) else None)
        yield GpuCase("decoding", name, functools.partial(decoding, bundle, frames), reason)


def latents(bundle: Bundle, engine: str) -> dict[str, Any]:
    """Largest difference of the head's outputs from the CPU's, and the share of symbols that it changes."""
    ours, theirs = (open_engine(bundle.graph("head"), EngineOptions(name)) for name in (engine, DEFAULT))
    differences, changed = [], []
    for _, image in photos():
        prepared = bundle.manifest.preprocess(image)
        for a, b in zip(ours.run(prepared), theirs.run(prepared), strict=True):
            differences.append(np.abs(a - b).max() / max(1.0, np.abs(b).max()))
            changed.append((np.rint(a) != np.rint(b)).mean())
    row = {"largest_relative_difference": max(differences), "symbols_changed": np.mean(changed)}
    return {name: float(value) for name, value in row.items()} | {"device": ours.device}


def packets(bundle: Bundle, engine: str, mode: Mode) -> dict[str, Any]:
    """Whole frames through Head: bytes and symbols against the CPU's; the class that a CPU's tail reads."""
    guard = Guard(mode, budget=None)
    ours, theirs = (Head(bundle, EngineOptions(name), guard=guard) for name in (engine, DEFAULT))
    tail, changed, same_class, size = Tail(bundle), [], [], []
    for _, image in photos():
        got, want = ours.encode(image).to_bytes(), theirs.encode(image).to_bytes()
        assert ours.report is not None and theirs.report is not None
        y, of_cpu = (head.report.latent.streams[-1].symbols for head in (ours, theirs) if head.report)
        changed.append((y != of_cpu).mean())
        size.append(len(got) / len(want))
        same_class.append(tail.decode(got).argmax() == tail.decode(want).argmax())
    return {
        "symbols_changed": float(np.mean(changed)),
        "bytes_ratio": float(np.mean(size)),
        "same_class": float(np.mean(same_class)),
    }


def decoding(bundle: Bundle, frames: int) -> dict[str, Any]:
    """``bench.engines`` on a few frames."""
    with Progress(console=progress) as bar:
        result = compare(bundle, frames, 0, bar)
    read_by = {reader.name: reader.mismatches for reader in result.readers}
    return {"frames": frames, "mismatches": sum(read_by.values()), "read_by": read_by}
