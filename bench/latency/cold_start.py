"""What a fresh process costs: ``python -m bench.latency.cold_start BUNDLE head|both`` prints it as JSON.

seconds   from the first import to the first packet (``both``: to its logits); compiled code comes from
          Numba's cache on disk, as on every start but the first
rss_mb    resident memory after it, in 10**6 bytes
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.cli.program import python_module

HEAD, BOTH = "head", "both"


@dataclass(frozen=True)
class Footprint:
    """Seconds to the first packet, and memory in MB of a process with Head alone and with Head and Tail."""

    cold_start_s: float
    head_rss_mb: float
    head_tail_rss_mb: float


def footprint(folder: Path, engine: str, threads: int | None, starts: int = 3) -> Footprint:
    """Start fresh processes and ask them: one with both halves, ``starts`` with Head alone (medians)."""
    both = _ask(folder, BOTH, engine, threads)
    heads = [_ask(folder, HEAD, engine, threads) for _ in range(starts)]
    median = {key: statistics.median(head[key] for head in heads) for key in heads[0]}
    return Footprint(median["seconds"], median["rss_mb"], both["rss_mb"])


def _ask(folder: Path, part: str, engine: str, threads: int | None) -> dict[str, float]:
    command = [
        *python_module("bench.latency.cold_start"),
        str(folder),
        part,
        engine,
        str(threads or ""),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure(folder: str, part: str, engine: str, threads: str) -> dict[str, Any]:
    """What this process costs, from here on: nothing of the runtime may have been imported before."""
    start = time.perf_counter()
    import numpy as np

    from runtime.bundle import load
    from runtime.engines import EngineOptions
    from runtime.head import Head

    options = EngineOptions(engine, int(threads) if threads else None)
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    bundle = load(folder)
    data = Head(bundle, options).encode(frame).to_bytes()
    if part == BOTH:
        from runtime.tail import Tail

        Tail(bundle, options).decode(data)
    seconds = time.perf_counter() - start

    import psutil

    return {"seconds": seconds, "rss_mb": psutil.Process().memory_info().rss / 1e6}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
