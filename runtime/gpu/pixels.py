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
from runtime.preprocess import Nv12, Preprocess, as_rgb
from runtime.preprocess.placement import Placement


class Pixels:
    """Queues the preprocessing of frames. ``input`` (1, 3, S, S) float32, on the GPU, is overwritten by each.

    Not before the frame before it has been waited for: what crosses has room for one.
    """

    def __init__(self, preprocess: Preprocess, memory: Memory, stream: Any):
        self._preprocess, self._memory, self._stream = preprocess, memory, stream
        size = preprocess.size
        self.input = cuda.device_array((1, 3, size, size), dtype=np.float32)
        self._plan: _Plan | None = None

    def queue(self, image: NDArray[np.uint8] | Nv12) -> Any:
        """Queue one frame, an image as ``Preprocess`` takes it; returns ``input``. Raises ImageError.

        The part that is resized crosses, NV12 as NV12, and the GPU does the rest.
        """
        picture = image if isinstance(image, Nv12) else as_rgb(image)
        placement = self._preprocess.placement(*picture.shape[:2])
        matrix = picture.matrix if isinstance(picture, Nv12) else None
        if self._plan is None or self._plan.of != (placement, matrix):
            self._plan = _Plan(placement, picture, self._memory)
        self._plan.queue(picture, self.input, self._stream)
        return self.input


class _Plan:
    """What frames of one shape and format need: their memory and the taps of both passes."""

    def __init__(self, placement: Placement, picture: NDArray[np.uint8] | Nv12, memory: Memory):
        self.of = (placement, picture.matrix if isinstance(picture, Nv12) else None)
        columns, rows = placement.taps()
        # Even ends, so that NV12 has whole blocks of chroma.
        (left, right), (top, bottom) = (
            (first // 2 * 2, min(-(-last // 2) * 2, length))
            for (first, last), length in ((columns.span, placement.width), (rows.span, placement.height))
        )
        self._part = slice(top, bottom), slice(left, right)
        tall, wide = bottom - top, right - left
        self._planes: tuple[Crossing, Crossing] | None = None
        if isinstance(picture, Nv12):
            shapes = (tall, wide), (tall // 2, wide // 2, 2)
            first, second = (Crossing(shape, np.uint8, memory) for shape in shapes)
            self._planes = first, second
            self._matrix = cuda.to_device(picture.coefficients)
            self._rgb = cuda.device_array((tall, wide, 3), dtype=np.uint8)
        else:
            self._source = Crossing((tall, wide, 3), np.uint8, memory)
            self._rgb = self._source.device
        self._narrow = cuda.device_array((tall, placement.at[2], 3), dtype=np.uint8)
        self._columns = cuda.to_device(columns.first - np.int32(left)), cuda.to_device(columns.weights)
        self._rows = cuda.to_device(rows.first - np.int32(top)), cuda.to_device(rows.weights)
        self._corner, self._wide, self._size = placement.at[:2], placement.at[2], placement.size

    def queue(self, picture: NDArray[np.uint8] | Nv12, out: Any, stream: Any) -> None:
        """Queue a picture's way into ``out``."""
        tall, wide = (part.stop - part.start for part in self._part)
        if isinstance(picture, Nv12):
            assert self._planes is not None
            luma, chroma = self._planes
            down, along = self._part
            luma.host[...] = picture.luma[down, along]
            halves = (slice(part.start // 2, part.stop // 2) for part in (down, along))
            chroma.host[...] = picture.chroma[tuple(halves)]
            for plane in self._planes:
                plane.to_device(stream)
            planes = luma.device, chroma.device
            over_pixels(kernels.nv12_to_rgb, wide, tall, stream, *planes, self._matrix, self._rgb)
        else:
            self._source.host[...] = picture[self._part]
            self._source.to_device(stream)
        over_pixels(
            kernels.resize_along_rows, self._wide, tall, stream,
            self._rgb, *self._columns, self._narrow,
        )  # fmt: skip
        over_pixels(
            kernels.resize_to_input, self._size, self._size, stream,
            self._narrow, *self._rows, *self._corner, out,
        )  # fmt: skip
