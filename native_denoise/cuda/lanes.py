# mypy: disable-error-code=no-untyped-def
"""What the lanes of a warp tell each other, and the reciprocal of a square root.

The simulator has neither shuffles nor approximate roots: there shared memory and a division do the same.
"""

from __future__ import annotations

import math

import numpy as np

from .device import cuda, simulated

LANES = 8 if simulated() else 32
"""Of a warp; fewer in the simulator, where each costs a thread of Python's."""
ALL = 0xFFFFFFFF
"""The mask of a shuffle in which every lane takes part."""
ONE = np.float32(1.0)


if simulated():

    @cuda.jit(device=True)
    def inverse_root(x):
        """1 / sqrt(x)."""
        return ONE / math.sqrt(x)

    @cuda.jit(device=True)
    def _told(value, distance):
        box = cuda.shared.array((32, LANES), np.float32)
        warp, lane = cuda.threadIdx.y, cuda.threadIdx.x
        box[warp, lane] = value
        cuda.syncthreads()
        found = box[warp, min(max(lane + distance, 0), LANES - 1)]
        cuda.syncthreads()
        return found

    @cuda.jit(device=True)
    def of_right(mask, value, distance):
        """``value`` of the lane ``distance`` to the right."""
        return _told(value, distance)

    @cuda.jit(device=True)
    def of_left(mask, value, distance):
        """``value`` of the lane ``distance`` to the left."""
        return _told(value, -distance)

else:
    from numba.cuda import libdevice

    inverse_root = libdevice.rsqrtf  # one instruction, to 2 ulp
    of_right, of_left = cuda.shfl_down_sync, cuda.shfl_up_sync
