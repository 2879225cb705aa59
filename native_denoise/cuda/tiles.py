# mypy: disable-error-code=no-untyped-def
"""The fast path of `descent` and `released`: a tile and its halo stay in shared memory for several steps,
then the tile is written.

A tile of ``width`` x ``height`` pixels, ``halo`` of them on each side belonging to its neighbours, takes up
to ``halo`` steps in one launch: after n steps n pixels next to its edge are stale, and only the inside is
written. Global memory is read and written once for ``halo`` steps.  Since a tile reads what its neighbours
own, a launch reads one plane and writes another: 3 planes with the image.  `rof`, which would need 9, has
``fronts``.

A block is ``width`` x ``height / pixels`` threads; each thread owns ``pixels`` pixels of one column, and
what only it needs (the image, the mask, x) stays in its registers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .device import cuda
from .planes import ONE, ZERO


@dataclass(frozen=True)
class Tile:
    """The shape of a tile; ``pixels`` divides ``height``."""

    width: int = 64
    height: int = 32
    pixels: int = 4
    halo: int = 4

    @property
    def threads(self) -> tuple[int, int, int]:
        """Threads of a block."""
        return (self.width, self.height // self.pixels, 1)

    def blocks(self, width: int, height: int, planes: int) -> tuple[int, int, int]:
        """Blocks that cover ``planes`` planes of height x width."""
        inside = (self.width - 2 * self.halo, self.height - 2 * self.halo)
        return (-(-width // inside[0]), -(-height // inside[1]), planes)


@functools.lru_cache(maxsize=8)
def released_tile(tile: Tile) -> Any:
    """``count`` steps of ``planes.released_step``."""
    width, height, pixels, halo = tile.width, tile.height, tile.pixels, tile.halo
    lines = height // pixels

    def released_steps(source, target, masks, channels, rate, count):
        shared = cuda.shared.array((height, width), np.float32)
        speed = cuda.local.array(pixels, np.float32)
        fresh = cuda.local.array(pixels, np.float32)
        i, p = cuda.threadIdx.x, cuda.blockIdx.z
        x = cuda.blockIdx.x * (width - 2 * halo) - halo + i
        first = cuda.blockIdx.y * (height - 2 * halo) - halo
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            y = first + j
            inside = x >= 0 and x < source.shape[2] and y >= 0 and y < source.shape[1]
            shared[j, i] = source[p, y, x] if inside else ZERO
            speed[k] = rate * masks[p // channels, y, x] if inside else ZERO
        cuda.syncthreads()
        for _ in range(count):
            for k in range(pixels):
                j = cuda.threadIdx.y + k * lines
                here = shared[j, i]
                right = shared[j, i + 1] if x + 1 < source.shape[2] and i + 1 < width else here
                below = shared[j + 1, i] if first + j + 1 < source.shape[1] and j + 1 < height else here
                fresh[k] = here + speed[k] * ((right - here) + (below - here))
            cuda.syncthreads()
            for k in range(pixels):
                shared[cuda.threadIdx.y + k * lines, i] = fresh[k]
            cuda.syncthreads()
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            y = first + j
            mine = i >= halo and i < width - halo and j >= halo and j < height - halo
            if mine and x < source.shape[2] and y < source.shape[1]:
                target[p, y, x] = fresh[k]

    return released_steps


@functools.lru_cache(maxsize=8)
def descent_tile(tile: Tile) -> Any:
    """``count`` steps of ``planes.descent_step``; each flux is computed once."""
    width, height, pixels, halo = tile.width, tile.height, tile.pixels, tile.halo
    lines = height // pixels

    def descent_steps(source, target, images, masks, channels, step, weight, epsilon, count):
        shared = cuda.shared.array((height, width), np.float32)
        flux_x = cuda.shared.array((height, width), np.float32)
        flux_y = cuda.shared.array((height, width), np.float32)
        speed = cuda.local.array(pixels, np.float32)
        image = cuda.local.array(pixels, np.float32)
        i, p = cuda.threadIdx.x, cuda.blockIdx.z
        x = cuda.blockIdx.x * (width - 2 * halo) - halo + i
        first = cuda.blockIdx.y * (height - 2 * halo) - halo
        floor = epsilon * epsilon
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            y = first + j
            inside = x >= 0 and x < source.shape[2] and y >= 0 and y < source.shape[1]
            shared[j, i] = source[p, y, x] if inside else ZERO
            image[k] = images[p, y, x] if inside else ZERO
            speed[k] = step * masks[p // channels, y, x] if inside else ZERO
        cuda.syncthreads()
        for _ in range(count):
            for k in range(pixels):
                j = cuda.threadIdx.y + k * lines
                here = shared[j, i]
                right = shared[j, i + 1] if x + 1 < source.shape[2] and i + 1 < width else here
                below = shared[j + 1, i] if first + j + 1 < source.shape[1] and j + 1 < height else here
                along_x, along_y = right - here, below - here
                scale = ONE / math.sqrt(along_x * along_x + along_y * along_y + floor)
                flux_x[j, i] = along_x * scale
                flux_y[j, i] = along_y * scale
            cuda.syncthreads()
            for k in range(pixels):
                j = cuda.threadIdx.y + k * lines
                left = flux_x[j, i - 1] if x > 0 and i > 0 else ZERO
                above = flux_y[j - 1, i] if first + j > 0 and j > 0 else ZERO
                divergence = (flux_x[j, i] - left) + (flux_y[j, i] - above)
                here = shared[j, i]
                shared[j, i] = here - speed[k] * ((here - image[k]) - weight * divergence)
            cuda.syncthreads()
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            y = first + j
            mine = i >= halo and i < width - halo and j >= halo and j < height - halo
            if mine and x < source.shape[2] and y < source.shape[1]:
                target[p, y, x] = shared[j, i]

    return descent_steps
