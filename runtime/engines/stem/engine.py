"""The paper's heads on a CPU: their first two convolutions and GDNs in one pass over the rows.

    image - mean -> (convolution, 5 x 5, stride 2 -> x / (beta + gamma |x|)) twice -> ONNX Runtime

ONNX Runtime has no Abs and no Div in its blocked layout. It would change the layout of the head's largest
tensor, 5 MB, four times here, and read it twice more. ``runtime.engines.stem.kernel`` keeps that tensor in
the caches from the image to the second quotient, and needs three quarters of the multiplications.
"""

from __future__ import annotations

import numpy as np

from native_denoise.cpu.bands import aligned_zeros
from native_denoise.vectors.simd import LANES
from native_denoise.vectors.threads import available, share
from runtime.engines.base import Engine
from runtime.engines.stem.find import KERNEL, PADDING, STRIDE, Array, Level, Stem
from runtime.engines.stem.gdn import BLOCK, TILE
from runtime.engines.stem.kernel import Direct, lay_out, stem
from runtime.engines.stem.winograd import EVEN, OUTPUTS, RING, Minimal, WinogradWorkspace, transformed
from runtime.errors import EngineError


class Stemmed:
    """An engine: a stem, and another engine for the rest. Not thread-safe: buffers are used again.

    Args:
        stem: as ``find_stem`` finds it.
        rest: runs ``stem.rest``.
        threads: of the stem; None: as many as there are cores.
    """

    device = "CPU"
    precision = "float32"

    def __init__(self, stem: Stem, rest: Engine, threads: int | None):
        first, second = map(_padded, stem.levels)
        self.inputs: tuple[tuple[str, tuple[int, ...]], ...] = (
            (stem.name, (1, len(stem.mean), stem.side, stem.side)),
        )
        self.outputs = rest.outputs
        self._rest, self._mean = rest, stem.mean
        self._planes, self._first = _direct(first, stem.side)
        self._second = _minimal(second, len(first.beta), self._first.side)
        side = self._second.side
        self._groups = side // OUTPUTS
        self._threads = min(threads or available(), self._groups)
        # Aligned: a vector that lies in two cache lines costs as much to write as to compute.
        self._out = aligned_zeros(len(second.beta) * side * side).reshape(1, -1, side, side)
        self._given = self._out[:, : len(stem.levels[1].beta)]
        self._work = [self._workspace() for _ in range(self._threads)]

    def run(self, *inputs: Array) -> list[Array]:
        """Run once; see ``Engine.run``."""
        shapes = [array.shape for array in inputs]
        if shapes != [shape for _, shape in self.inputs]:
            raise EngineError(f"the graph takes {self.inputs}, not arrays of {shapes}")
        lay_out(inputs[0][0], self._mean, self._planes, PADDING)
        share(self._run_groups, self._threads)
        return self._rest.run(self._given)

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.run(*(np.zeros(shape, dtype=np.float32) for _, shape in self.inputs))

    def _run_groups(self, thread: int) -> None:
        # Rows of the first level that two threads need are computed by both.
        begin, end = (self._groups * n // self._threads for n in (thread, thread + 1))
        stem(self._first, self._second, self._work[thread], self._out.reshape(-1), begin, end)

    def _workspace(self) -> WinogradWorkspace:
        first, second = self._first, self._second
        tiles, channels = -(-second.side // TILE), second.beta.size
        sizes = RING * second.stride, EVEN * second.stride, tiles * OUTPUTS * channels * TILE
        return WinogradWorkspace(*map(aligned_zeros, (*sizes, BLOCK * TILE, first.beta.size * TILE)))


def _direct(level: Level, side: int) -> tuple[Array, Direct]:
    """The padded image, (c, rows, 2, columns), and the level that takes it."""
    channels, half = level.weights.shape[1], side // STRIDE
    # Columns of even and of odd number are apart: a stride of 2 becomes one of 1.
    shape = (channels, side + 2 * PADDING, STRIDE, half + LANES)
    planes = aligned_zeros(int(np.prod(shape))).reshape(shape)
    plane, line, odd, _ = (stride // 4 for stride in planes.strides)
    offsets = [
        c * plane + row * line + column % STRIDE * odd + column // STRIDE
        for c in range(channels)
        for row in range(KERNEL)
        for column in range(KERNEL)
    ]
    weights, gamma = _blocks(level.weights.reshape(len(level.beta), -1)), _blocks(level.gamma)
    taken = planes.reshape(-1), np.array(offsets), STRIDE * line
    return planes, Direct(*taken, weights, gamma, level.beta, half)


def _minimal(level: Level, channels: int, side: int) -> Minimal:
    """The level for rows of so many channels, some of them only padding, and so many columns."""
    inputs, half = level.weights.shape[1], side // STRIDE
    odd = -(-(half + PADDING) // LANES) * LANES
    offsets = [
        (STRIDE * c + column % STRIDE) * odd + column // STRIDE
        for c in range(inputs)
        for column in range(KERNEL)
    ]
    weights = np.concatenate([_blocks(product) for product in transformed(level.weights)])
    gamma = _blocks(level.gamma)
    return Minimal(weights, np.array(offsets), gamma, level.beta, STRIDE * channels * odd, half)


def _padded(level: Level) -> Level:
    """The level with channels that are all zero, so that they make whole blocks."""
    more = -len(level.beta) % BLOCK
    weights = np.pad(level.weights, ((0, more), (0, 0), (0, 0), (0, 0)))
    return Level(weights, np.pad(level.gamma, (0, more)), np.pad(level.beta, (0, more), constant_values=1))


def _blocks(matrix: Array) -> Array:
    """(C, n) as BLOCK rows after the other, and in each of them column by column, flat."""
    channels, count = matrix.shape
    return matrix.reshape(channels // BLOCK, BLOCK, count).transpose(0, 2, 1).reshape(-1).copy()
