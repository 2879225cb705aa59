# mypy: disable-error-code=no-untyped-def
"""The roofs of this machine, measured with the vectors that the denoiser uses, and what its steps need.

Two roofs bound a step whose planes are in the cache: multiply-adds in registers, and loads and stores in the
first-level cache.  Main memory is read and written once a call, which is under a hundredth of the work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from native_denoise.vectors.jit import kernel
from native_denoise.vectors.simd import LANES, load, splat, store
from native_denoise.vectors.threads import share

OPERATIONS = {"released": 5, "descent": 21, "rof": 26}
"""float32 operations of one pixel and step, counted in native_denoise/cpu (released.py, descent.py, rows.py):
a multiply-add is 2, the reciprocal square root 5 (estimate and one Newton step), a shuffle none."""

BYTES = {"released": 4 * (1.75 + 0.75), "descent": 4 * (4 + 1.5), "rof": 4 * (8 + 4)}
"""Bytes that one pixel and step loads and stores, all of them in the cache: of `released` and `descent` as
two rows share them, of `released` also two steps."""


@dataclass(frozen=True)
class Roofs:
    """What ``threads`` threads reach together."""

    threads: int
    gflops: float
    """float32 multiply-adds, two operations each, in 10^9 a second."""
    cache_gbytes: float
    """Loads and stores of the first-level cache, two loads to a store, in 10^9 bytes a second."""

    def least_ms(self, mode: str, pixels: int, steps: int) -> float:
        """The time that the higher of the two roofs allows for ``steps`` steps of ``pixels`` values."""
        arithmetic = OPERATIONS[mode] * pixels * steps / (self.gflops * 1e9)
        traffic = BYTES[mode] * pixels * steps / (self.cache_gbytes * 1e9)
        return 1e3 * max(arithmetic, traffic)


@kernel
def _multiply_add(work, rounds):
    a = splat(np.float32(0.999))
    s0, s1, s2, s3 = load(work, 0), load(work, LANES), load(work, 2 * LANES), load(work, 3 * LANES)
    s4, s5, s6, s7 = s0 + s1, s1 + s2, s2 + s3, s3 + s0
    for _ in range(rounds):
        s0, s1, s2, s3 = s0 * a + a, s1 * a + a, s2 * a + a, s3 * a + a
        s4, s5, s6, s7 = s4 * a + a, s5 * a + a, s6 * a + a, s7 * a + a
    store(work, 0, ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))


@kernel
def _load_and_store(work, length, rounds):
    for _ in range(rounds):
        for i in range(0, length, LANES):
            store(work, i, load(work, i) + load(work, i + length))


def measure_roofs(threads: int, repeats: int = 15) -> Roofs:
    """The best of ``repeats``: a roof is what the machine can do, not what it does on average."""
    length = 2048  # two rows of 8 KiB stay in a first-level cache of 32
    works = [np.full(2 * length, 0.5, dtype=np.float32) for _ in range(threads)]
    # About a millisecond each: waking a thread takes 30 us, which would look like a lower roof.
    rounds = 400_000
    sweeps = 20_000
    arithmetic = _best(lambda i: _multiply_add(works[i], rounds), threads, repeats)
    for work in works:
        work[:] = 0.0
    traffic = _best(lambda i: _load_and_store(works[i], length, sweeps), threads, repeats)
    return Roofs(
        threads,
        gflops=threads * rounds * 8 * LANES * 2 / arithmetic / 1e9,
        cache_gbytes=threads * sweeps * length * 12 / traffic / 1e9,
    )


def _best(job, threads: int, repeats: int) -> float:
    """Least wall time in seconds of ``job`` on all threads at once."""
    samples = []
    share(job, threads)
    for _ in range(repeats):
        start = time.perf_counter()
        share(job, threads)
        samples.append(time.perf_counter() - start)
    return min(samples)
