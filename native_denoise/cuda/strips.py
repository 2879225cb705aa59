# mypy: disable-error-code=no-untyped-def
"""The fast path of `descent` and `released`: a tile stays in the registers of a block for several steps.

A lane owns ``columns`` x ``rows`` neighbouring pixels, a warp a strip of 32 such patches side by side, a
block a tile of ``warps`` strips one upon another.  In a step a pixel reads its right and lower neighbour, and
the flux of its left and upper one: within a patch they are registers, between lanes a shuffle, between strips
rows of x in shared memory, written in turns so that one barrier a step is enough.  The flux from the strip
above is computed again: cheaper than to wait for it.

``halo`` pixels on each side of a tile belong to its neighbours: after n steps n pixels next to its edge are
stale, so it takes up to ``halo`` steps in one launch and only its inside is written.  Global memory is read
and written once for ``halo`` steps.  Since a tile reads what its neighbours own, a launch reads one plane and
writes another: 3 planes with the image.  `rof`, which would need 9, has ``fronts``.

Outside the image a tile holds copies of the edge, which no flux crosses: ``crosses`` and ``falls`` are 1
where the image goes on to the right and below, else 0.  Places are computed in 32 bits and indices unsigned:
Numba would make them 64 bits wide, and look at each for its sign.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from .device import cuda, multiprocessors, simulated
from .lanes import ALL, LANES, inverse_root, of_left, of_right

REGISTERS = 128
"""Most registers of a thread: 16 warps then share those of a multiprocessor."""


@dataclass(frozen=True)
class Strips:
    """The shape of a tile: pixels of a lane, warps of a block, steps of a launch."""

    columns: int
    rows: int
    warps: int
    halo: int

    @property
    def width(self) -> int:
        """Of a tile, its halo included."""
        return LANES * self.columns

    @property
    def inside(self) -> tuple[int, int]:
        """Width and height of what a tile writes."""
        return (self.width - 2 * self.halo, self.warps * self.rows - 2 * self.halo)

    @property
    def threads(self) -> tuple[int, int, int]:
        """Threads of a block."""
        return (LANES, self.warps, 1)

    def blocks(self, width: int, height: int, planes: int) -> tuple[int, int, int]:
        """Blocks that cover ``planes`` planes of height x width."""
        wide, high = self.inside
        return (-(-width // wide), -(-height // high), planes)


FEW, MANY = Strips(2, 2, 16, halo=4), Strips(4, 8, 16, halo=8)
"""For a frame, which leaves most of a GPU idle and waits for the slowest thread; and for so many that all are
busy, where the instructions of a pixel count."""


def suited(height: int, width: int, planes: int) -> Strips:
    """The shape for ``planes`` planes of height x width on the current GPU."""
    x, y, z = MANY.blocks(width, height, planes)
    return FEW if simulated() or 2 * x * y * z < multiprocessors() else MANY


@functools.lru_cache(maxsize=8)
def released_strips(shape: Strips) -> Any:
    """``count`` steps of ``planes.released_step``."""
    columns, rows, warps, halo = shape.columns, shape.rows, shape.warps, shape.halo
    width, last, (inside_wide, inside_high) = shape.width, shape.rows - 1, shape.inside

    def released_steps(source, target, masks, channels, rate, count):
        tops = cuda.shared.array((2, warps, width), np.float32)
        u = cuda.local.array((rows, columns), np.float32)
        speed = cuda.local.array((rows, columns), np.float32)
        crosses = cuda.local.array(columns, np.float32)
        falls = cuda.local.array(rows, np.float32)
        i, j, p = cuda.threadIdx.x * columns, cuda.threadIdx.y * rows, cuda.blockIdx.z
        x, y = cuda.blockIdx.x * inside_wide - halo + i, cuda.blockIdx.y * inside_high - halo + j
        warp, frame = cuda.threadIdx.y, p // channels
        below = min(warp + 1, warps - 1)
        zero, bottom, end = np.int32(0), np.int32(source.shape[1] - 1), np.int32(source.shape[2] - 1)
        for c in range(columns):
            crosses[c] = zero <= np.int32(x + c) < end
        for r in range(rows):
            falls[r] = zero <= np.int32(y + r) < bottom
            s = np.uint32(min(max(np.int32(y + r), zero), bottom))
            here, mask = source[p, s], masks[frame, s]
            for c in range(columns):
                t = np.uint32(min(max(np.int32(x + c), zero), end))
                u[r, c] = here[t]
                speed[r, c] = rate * mask[t]
        for n in range(count):
            turn = n & 1
            for c in range(columns):
                tops[turn, warp, i + c] = u[0, c]
            cuda.syncthreads()
            for r in range(rows):
                beside = of_right(ALL, u[r, 0], 1)
                for c in range(columns):
                    right = u[r, c + 1] if c + 1 < columns else beside
                    lower = u[r + 1, c] if r < last else tops[turn, below, i + c]
                    change = (right - u[r, c]) * crosses[c] + (lower - u[r, c]) * falls[r]
                    u[r, c] += speed[r, c] * change
        for r in range(rows):
            if zero <= np.int32(j + r - halo) < inside_high and np.int32(y + r) <= bottom:
                there = target[p, np.uint32(y + r)]
                for c in range(columns):
                    if zero <= np.int32(i + c - halo) < inside_wide and np.int32(x + c) <= end:
                        there[np.uint32(x + c)] = u[r, c]

    return released_steps


@functools.lru_cache(maxsize=8)
def descent_strips(shape: Strips) -> Any:
    """``count`` steps of ``planes.descent_step``."""
    columns, rows, warps, halo = shape.columns, shape.rows, shape.warps, shape.halo
    width, last, (inside_wide, inside_high) = shape.width, shape.rows - 1, shape.inside
    edges = rows + 1

    def descent_steps(source, target, images, masks, channels, step, weight, epsilon, count):
        tops = cuda.shared.array((2, warps, width), np.float32)
        bottoms = cuda.shared.array((2, warps, width), np.float32)
        u = cuda.local.array((rows, columns), np.float32)
        image = cuda.local.array((rows, columns), np.float32)
        speed = cuda.local.array((rows, columns), np.float32)
        crosses = cuda.local.array(columns, np.float32)
        falls = cuda.local.array(edges, np.float32)  # from row r - 1 to row r
        over = cuda.local.array(columns, np.float32)
        from_above = cuda.local.array(columns, np.float32)
        flux_x = cuda.local.array(columns, np.float32)
        flux_y = cuda.local.array(columns, np.float32)
        i, j, p = cuda.threadIdx.x * columns, cuda.threadIdx.y * rows, cuda.blockIdx.z
        x, y = cuda.blockIdx.x * inside_wide - halo + i, cuda.blockIdx.y * inside_high - halo + j
        warp, frame, floor = cuda.threadIdx.y, p // channels, epsilon * epsilon
        above, below = max(warp - 1, 0), min(warp + 1, warps - 1)
        zero, bottom, end = np.int32(0), np.int32(source.shape[1] - 1), np.int32(source.shape[2] - 1)
        for c in range(columns):
            crosses[c] = zero <= np.int32(x + c) < end
        for r in range(edges):
            falls[r] = zero <= np.int32(y + r - 1) < bottom
        for r in range(rows):
            s = np.uint32(min(max(np.int32(y + r), zero), bottom))
            here, clean, mask = source[p, s], images[p, s], masks[frame, s]
            for c in range(columns):
                t = np.uint32(min(max(np.int32(x + c), zero), end))
                u[r, c] = here[t]
                image[r, c] = clean[t]
                speed[r, c] = step * mask[t]
        for n in range(count):
            turn = n & 1
            for c in range(columns):
                tops[turn, warp, i + c] = u[0, c]
                bottoms[turn, warp, i + c] = u[last, c]
            cuda.syncthreads()
            for c in range(columns):
                over[c] = bottoms[turn, above, i + c]
            beside = of_right(ALL, over[0], 1)
            for c in range(columns):
                along_x = ((over[c + 1] if c + 1 < columns else beside) - over[c]) * crosses[c]
                along_y = (u[0, c] - over[c]) * falls[0]
                from_above[c] = along_y * inverse_root(along_x * along_x + (along_y * along_y + floor))
            for r in range(rows):
                beside = of_right(ALL, u[r, 0], 1)
                for c in range(columns):
                    lower = u[r + 1, c] if r < last else tops[turn, below, i + c]
                    along_x = ((u[r, c + 1] if c + 1 < columns else beside) - u[r, c]) * crosses[c]
                    along_y = (lower - u[r, c]) * falls[r + 1]
                    scale = inverse_root(along_x * along_x + (along_y * along_y + floor))
                    flux_x[c] = along_x * scale
                    flux_y[c] = along_y * scale
                beside = of_left(ALL, flux_x[columns - 1], 1)
                for c in range(columns):
                    from_left = flux_x[c - 1] if c > 0 else beside
                    divergence = (flux_x[c] - from_left) + (flux_y[c] - from_above[c])
                    u[r, c] += speed[r, c] * ((image[r, c] + weight * divergence) - u[r, c])
                    from_above[c] = flux_y[c]
        for r in range(rows):
            if zero <= np.int32(j + r - halo) < inside_high and np.int32(y + r) <= bottom:
                there = target[p, np.uint32(y + r)]
                for c in range(columns):
                    if zero <= np.int32(i + c - halo) < inside_wide and np.int32(x + c) <= end:
                        there[np.uint32(x + c)] = u[r, c]

    return descent_steps
