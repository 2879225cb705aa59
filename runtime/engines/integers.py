"""Exact networks (``runtime.prior.exact``) by a CPU's products of bytes.

Their graph computes whole numbers in float32, as every engine can. A CPU with VNNI or dotprod multiplies four
bytes where it multiplies one float32, and leaves no roundings to repair.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.register_block import ROWS
from native_denoise.vectors.threads import available as cores
from native_denoise.vectors.threads import share
from runtime.engines import dot
from runtime.engines.dot import BYTES
from runtime.engines.integer_kernel import hidden_rows, last_rows, pack_input, scratch_size
from runtime.engines.integer_layout import Grid, Laid, Phase, Shape, lay_out
from runtime.prior.exact import IntegerNetwork

WORTH_SHARING = 1 << 24
"""Multiplications, about 0.1 ms, below which a second thread costs a phase more than it saves."""

Words = NDArray[np.int32]


def can_run(network: IntegerNetwork) -> bool:
    """Whether this CPU multiplies bytes, and the layers are plain, or transposed but for the last."""
    *hidden, last = network.layers
    plain = last.stride == 1 and all(layer.transposed or layer.stride == 1 for layer in hidden)
    return dot.available() and plain


class CompiledNetwork:
    """An exact network, compiled: equals ``network`` for every z. Thread-safe.

    Args:
        network: one that ``can_run``.
        shape: of z, (C, H, W).
        threads: that work on one z; None: as many as there are cores.
    """

    def __init__(self, network: IntegerNetwork, shape: Shape, threads: int | None):
        self._threads, self._network = threads or cores(), network
        self._laid: list[Laid] = []
        for layer in network.layers:
            self._laid.append(lay_out(layer, shape))
            shape = self._laid[-1].shape
        # How many channels are looked up, and where.
        self._scales = 0 if network.rungs is None else shape[0] // 2
        self._rungs = np.zeros(1, dtype=np.int32) if network.rungs is None else network.rungs

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """int32 (C, H, W) -> float32 (C', H', W') of whole numbers, flat."""
        grid = self._laid[0].grid
        words = grid.blank.copy()
        pack_input(z, words, grid.origin, grid.stride, grid.plane)
        for number, following in enumerate(self._laid[1:]):
            words = self._hidden(number, words, following.grid)
        return self._last(words)

    def _hidden(self, number: int, a: Words, grid: Grid) -> Words:
        step, out = self._laid[number].step, grid.blank.copy()
        for phase in self._laid[number].phases:
            there = grid.origin + phase.row * grid.stride + phase.column
            self._run(hidden_rows, number, phase, a, out, there, step * grid.stride, step, grid.plane)
        return out

    def _last(self, a: Words) -> NDArray[np.float32]:
        laid = self._laid[-1]
        out = np.empty(math.prod(laid.shape), dtype=np.float32)
        self._run(last_rows, len(self._laid) - 1, laid.phases[0], a, out, self._rungs, self._scales)
        return out

    def _run(self, kernel: Any, number: int, phase: Phase, a: Words, *into: Any) -> None:
        """A kernel on all rows of a phase; ``into`` says where its outputs go."""
        laid, layer, pairs = self._laid[number], self._network.layers[number], -(-phase.height // ROWS)
        work = phase.weights.size * BYTES * phase.height * phase.width
        threads = min(self._threads, pairs) if work >= WORTH_SHARING else 1

        def rows(thread: int) -> None:
            first, last = (ROWS * (pairs * n // threads) for n in (thread, thread + 1))
            kernel(
                a, laid.grid.origin, laid.grid.stride, phase.offsets, phase.weights, phase.bias, laid.shift,
                layer.leaky, layer.low, layer.high, np.empty(scratch_size(phase.bias.size), dtype=np.int32),
                *into, phase.height, phase.width, first, min(last, phase.height),
            )  # fmt: skip

        share(rows, threads)
