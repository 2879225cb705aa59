"""Photographs -> the head's input on the GPU, to the last bit as ``runtime.preprocess`` makes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.cuda.device import cuda
from runtime.engines import Memory
from runtime.gpu import kernels
from runtime.gpu.launch import over_pixels
from runtime.gpu.memory import Crossing
from runtime.gpu.resample import bicubic
from runtime.preprocess import Preprocess, as_rgb


class Pixels:
    """Queues the preprocessing of frames. ``input`` (1, 3, S, S) float32, on the GPU, is overwritten by each.

    Not before the frame before it has been waited for: what crosses has room for one.
    """

    def __init__(self, preprocess: Preprocess, memory: Memory, stream: Any):
        self._preprocess, self._memory, self._stream = preprocess, memory, stream
        size = preprocess.size
        self.input = cuda.device_array((1, 3, size, size), dtype=np.float32)
        self._plan: _Plan | None = None

    def queue(self, image: NDArray[np.uint8]) -> Any:
        """Queue one frame, an image as ``Preprocess.square`` takes it; returns ``input``. Raises ImageError.

        The whole frame crosses and is resized on the GPU. One that is taller than wide is resized on the
        host: which way Pillow goes about those depends on its version (see ``resample``).
        """
        rgb, crop = as_rgb(image), self._preprocess.crop
        if rgb.shape[0] > rgb.shape[1]:
            rgb, crop = self._preprocess.square(rgb), 1.0
        if self._plan is None or self._plan.of != (rgb.shape, crop):
            self._plan = _Plan(rgb.shape, crop, self._preprocess.size, self._memory)
        self._plan.source.host[...] = rgb
        self._plan.source.to_device(self._stream)
        self._plan.queue(self.input, self._stream)
        return self.input


class _Plan:
    """What frames of one shape need: their memory and the taps of both passes."""

    def __init__(self, shape: tuple[int, ...], crop: float, size: int, memory: Memory):
        self.of = (shape, crop)
        height, width = shape[:2]
        side = crop * min(height, width)
        left, upper = (width - side) / 2, (height - side) / 2
        columns, rows = bicubic(width, left, left + side, size), bicubic(height, upper, upper + side, size)
        self.source = Crossing(shape, np.uint8, memory)
        self._top = int(rows.first[0])
        bottom = min(int(rows.first[-1]) + rows.weights.shape[1], height)
        self._narrow = cuda.device_array((bottom - self._top, size, 3), dtype=np.uint8)
        self._columns = (cuda.to_device(columns.first), cuda.to_device(columns.weights))
        self._rows = (cuda.to_device(rows.first), cuda.to_device(rows.weights))

    def queue(self, out: Any, stream: Any) -> None:
        """Queue both passes into ``out``."""
        rows, size = self._narrow.shape[:2]
        over_pixels(
            kernels.resize_along_rows, size, rows, stream,
            self.source.device, *self._columns, self._top, self._narrow,
        )  # fmt: skip
        over_pixels(kernels.resize_to_input, size, size, stream, self._narrow, *self._rows, self._top, out)
