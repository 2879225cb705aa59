"""What a call needs on the GPU besides its images: planes, step sizes, and recordings of its launches."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..modes import Settings, schedule
from .device import as_stream, compiled, cuda, handle_of, require_gpu, simulated
from .fronts import Tile, front_blocks
from .graph import Recordings
from .strips import REGISTERS, Strips, suited

PLANES = {"released": 2, "descent": 2, "rof": 4}
"""Planes that the workspace holds for each plane of the image; with the image itself at most 5 in flight."""

THREADS = (32, 8, 1)
"""Threads of a block of the reference path."""


class Workspace:
    """Make it once, use it for every frame of that shape.

    ``fast`` takes the path that crosses global memory least and waits least often for the whole GPU: several
    steps a launch (``strips``, for `rof` ``fronts``); False takes the reference path (``planes``).
    ``strict`` keeps IEEE square roots and divisions, except the reciprocal roots of ``strips``.  Making a
    workspace allocates and copies (the step sizes, a mask of ones); using it does neither.  Not for two
    streams at a time.
    """

    def __init__(
        self,
        chosen: Settings,
        frames: int,
        channels: int,
        height: int,
        width: int,
        *,
        fast: bool = True,
        strict: bool = False,
        strips: Strips | None = None,
        tile: Tile | None = None,
    ) -> None:
        require_gpu()
        self.chosen, self.channels, self.fast, self.strict = chosen, channels, fast, strict
        self.shape = (frames * channels, height, width)
        self.strips = strips or suited(height, width, frames * channels)
        self.tile = tile or Tile()
        self.state = [cuda.device_array(self.shape, dtype=np.float32) for _ in range(PLANES[chosen.mode])]
        self.ones = cuda.to_device(np.ones((frames, height, width), dtype=np.float32))
        self.host_rates = _rates(chosen)
        self.rates = cuda.to_device(self.host_rates)
        self._private = cuda.stream()
        self._recordings = None if simulated() else Recordings(handle_of(self._private))

    def replay(self, key: Hashable, stream: Any) -> bool:
        """What ``repeat`` recorded for ``key``; False where nothing is yet."""
        return self._recordings is not None and self._recordings.replay(key, handle_of(stream))

    def repeat(self, queue: Callable[[Any], None], key: Hashable, stream: Any) -> None:
        """``queue(stream)``: from the second time that ``key``, which describes its arrays, is seen on as one
        CUDA graph, whose launch does not go through Python for each kernel.
        """
        if self._recordings is None:
            queue(stream)
        else:
            self._recordings.run(key, lambda handle: queue(as_stream(handle)), handle_of(stream))

    def launch(self, kernel: Any, stream: Any, *arguments: Any) -> None:
        """One thread a pixel."""
        height, width = self.shape[1:]
        blocks = (-(-width // THREADS[0]), -(-height // THREADS[1]), self.shape[0])
        compiled(kernel, self.strict)[blocks, THREADS, stream](*arguments)

    def launch_strips(self, kernel: Any, stream: Any, *arguments: Any) -> None:
        """One block a tile."""
        blocks = self.strips.blocks(self.shape[2], self.shape[1], self.shape[0])
        compiled(kernel, self.strict, REGISTERS)[blocks, self.strips.threads, stream](*arguments)

    def launch_fronts(self, kernel: Any, stream: Any, *arguments: Any, steps: int) -> None:
        """One launch a front; each is told its number after ``arguments``."""
        count, blocks = front_blocks(self.tile, self.shape[2], self.shape[1], self.shape[0], steps)
        for front in range(count):
            compiled(kernel, self.strict)[blocks, self.tile.threads, stream](*arguments, front)


def _rates(chosen: Settings) -> NDArray[np.float32]:
    """(iterations, 4): sigma, 1 / (1 + tau), tau / (1 + tau), theta of `rof`; one row of zeros otherwise."""
    if chosen.mode != "rof" or chosen.iterations == 0:
        return np.zeros((1, 4), dtype=np.float32)
    tau, sigma, theta = schedule(chosen.iterations).T
    return np.stack([sigma, 1 / (1 + tau), tau / (1 + tau), theta], axis=1).astype(np.float32)
