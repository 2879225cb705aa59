# mypy: disable-error-code=no-untyped-def
"""The fast path of `rof`: tiles in shared memory that move with the steps, in place, in 5 planes.

A tile that stays where it is must not overwrite what its neighbours still read, so it needs a second set of
planes: 9 for `rof`.  Here a tile moves one pixel to the left and one up with every step: pixel (x, y) is in
tile (i, j) in step n if x + n and y + n are in its range.  Step n of a pixel reads step n - 1 of itself and
of the pixels to its right and below, and the flux of step n of the pixels to its left and above; in moving
coordinates all of them lie in the same tile or in one to the left, above, or both.  So

- what a tile leaves behind at its right and lower edge is exactly the step that the next tile wants to read,
  and nothing that it overwrites is wanted again: in place, no halo, nothing computed twice (time skewing:
  Wolf, Lam, PLDI 1991; in a wave of rows, ``cpu.waves`` does the same);
- tile (i, j) may take its b-th batch of ``halo`` steps once (i - 1, j), (i, j - 1) and its own batch b - 1
  are done: all with the same *front* i + j + b run in one launch, in any order.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .device import cuda
from .planes import ONE, TINY, ZERO


@dataclass(frozen=True)
class Tile:
    """The shape of a moving tile, and the steps of a launch.

    A block is ``width`` x ``height / pixels`` threads; each thread owns ``pixels`` pixels of one column, and
    what only it needs (the image, the mask, x) stays in its registers.
    """

    width: int = 64
    height: int = 32
    pixels: int = 4
    halo: int = 4

    @property
    def threads(self) -> tuple[int, int, int]:
        """Threads of a block."""
        return (self.width, self.height // self.pixels, 1)


def front_blocks(
    tile: Tile, width: int, height: int, planes: int, steps: int
) -> tuple[int, tuple[int, int, int]]:
    """How many fronts ``steps`` steps of ``planes`` planes of height x width take, and the blocks of each."""
    columns = -(-(width + steps - 1) // (tile.width - tile.halo - 1))
    rows = -(-(height + steps - 1) // (tile.height - tile.halo - 1))
    batches = -(-steps // tile.halo)
    return columns + rows + batches - 2, (columns, batches, planes)


@functools.lru_cache(maxsize=8)
def rof_front(tile: Tile) -> Any:
    """Front ``front`` of the steps ``begin`` to ``begin + steps`` of `rof`.

    ``rates`` (iterations, 4): sigma, 1 / (1 + tau), tau / (1 + tau) and theta.  Block (i, b, p) has the tile
    i + j + b = front of plane p.  Its window holds every pixel that is in the tile in one of the batch's
    steps, and one pixel more on each side.
    """
    width, height, pixels, halo = tile.width, tile.height, tile.pixels, tile.halo
    lines = height // pixels

    def rof_steps(u, ahead, q_x, q_y, images, masks, channels, weight, rates, begin, steps, front):
        leading = cuda.shared.array((height, width), np.float32)
        flux_x = cuda.shared.array((height, width), np.float32)
        flux_y = cuda.shared.array((height, width), np.float32)
        radius = cuda.local.array(pixels, np.float32)
        image = cuda.local.array(pixels, np.float32)
        value = cuda.local.array(pixels, np.float32)
        i, batch, p = cuda.threadIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        done = batch * halo
        count = min(halo, steps - done)
        row = front - cuda.blockIdx.x - batch
        first_x = cuda.blockIdx.x * (width - halo - 1) - done - halo
        first = row * (height - halo - 1) - done - halo
        x = first_x + i
        if row < 0 or first >= u.shape[1] or first + height <= 0 or first_x >= u.shape[2]:
            return
        frame = p // channels
        nearest = min(max(x, 0), u.shape[2] - 1)
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            # What a pixel outside the image holds, nobody inside reads.
            y = min(max(first + j, 0), u.shape[1] - 1)
            leading[j, i] = ahead[p, y, nearest]
            flux_x[j, i] = q_x[p, y, nearest]
            flux_y[j, i] = q_y[p, y, nearest]
            value[k] = u[p, y, nearest]
            image[k] = images[p, y, nearest]
            radius[k] = weight * masks[frame, y, nearest]
        cuda.syncthreads()
        for step in range(count):
            n = begin + done + step
            sigma, keep, pull, push = rates[n, 0], rates[n, 1], rates[n, 2], rates[n, 3]
            # The window stands still and the tile moves through it.
            in_columns = i >= halo - step and i < width - 1 - step
            for k in range(pixels):
                j = cuda.threadIdx.y + k * lines
                if in_columns and j >= halo - step and j < height - 1 - step:
                    here = leading[j, i]
                    right = leading[j, i + 1] if x + 1 < u.shape[2] else here
                    below = leading[j + 1, i] if first + j + 1 < u.shape[1] else here
                    p_x = flux_x[j, i] + sigma * (right - here)
                    p_y = flux_y[j, i] + sigma * (below - here)
                    length = math.sqrt(max(p_x * p_x + p_y * p_y, TINY))
                    scale = min(ONE, radius[k] / length)
                    flux_x[j, i] = p_x * scale
                    flux_y[j, i] = p_y * scale
            cuda.syncthreads()
            for k in range(pixels):
                j = cuda.threadIdx.y + k * lines
                if in_columns and j >= halo - step and j < height - 1 - step:
                    left = flux_x[j, i - 1] if x > 0 else ZERO
                    above = flux_y[j - 1, i] if first + j > 0 else ZERO
                    divergence = (flux_x[j, i] - left) + (flux_y[j, i] - above)
                    new = keep * value[k] + pull * (image[k] + divergence)
                    leading[j, i] = new + push * (new - value[k])
                    value[k] = new
            cuda.syncthreads()
        for k in range(pixels):
            j = cuda.threadIdx.y + k * lines
            y = first + j
            inside = x >= 0 and x < u.shape[2] and y >= 0 and y < u.shape[1]
            # The first and the last step in which the tile had this pixel.
            entered = max(max(halo - i, halo - j), 0)
            left_at = min(min(width - 1 - i, height - 1 - j), count)
            if inside and entered < left_at:
                u[p, y, x] = value[k]
                ahead[p, y, x] = leading[j, i]
                q_x[p, y, x] = flux_x[j, i]
                q_y[p, y, x] = flux_y[j, i]

    return rof_steps
