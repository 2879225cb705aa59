"""Any frame -> the head's input: a centred square or the whole image in bars, float32 NCHW in [0, 1].

placement   which part of the image goes where, and the way back for boxes
taps        bicubic resizing as tables of integers
nv12        frames in YUV 4:2:0
resampler   frames as they lie in memory -> planes, by ``kernels``, in threads
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError
from runtime.preprocess.nv12 import Nv12
from runtime.preprocess.placement import Placement

Fit = Literal["crop", "pad"]

PADDING = 0
"""Level of the bars: black, as detectors are trained with."""


@dataclass(frozen=True)
class Preprocess:
    """How a bundle wants its input.

    size: side of the square input, in pixels.
    crop: side of the centred square that is kept, as a fraction of the image's shorter side, in (0, 1].
    fit: ``crop`` keeps that square; ``pad`` keeps the whole image and puts black bars around it (letterbox).
        With ``pad``, ``crop`` is 1.

    An image is uint8 HxW (grey), HxWx1, HxWx3 (RGB) or HxWx4 (RGBA, alpha is dropped), 1x1 and up, or NV12.
    A view is read where it lies: BGR as ``frame[:, :, ::-1]``, a mirrored frame, a part of one, padded rows.
    What is read is resized once, bicubic with antialiasing: Pillow's pixels, where Pillow goes along rows
    first. A panorama costs no more memory than a square does.
    """

    size: int
    crop: float
    fit: Fit = "crop"

    def placement(self, height: int, width: int) -> Placement:
        """Which part of an image of this size goes where; ``in_image`` of it maps boxes back."""
        if self.fit == "pad":
            return Placement.pad(height, width, self.size)
        return Placement.crop(height, width, self.size, self.crop)

    def square(self, image: NDArray[np.uint8] | Nv12, threads: int | None = None) -> NDArray[np.uint8]:
        """The prepared frame, uint8 (size, size, 3) RGB, contiguous; raises ImageError for what is no image.

        threads: at most so many; None: as many as there are cores.
        """
        picture = image if isinstance(image, Nv12) else as_rgb(image)
        if not isinstance(picture, Nv12) and self._is_prepared(picture):
            return np.ascontiguousarray(picture)
        planes = np.empty((3, self.size, self.size), dtype=np.uint8)
        self._resample(picture, planes, threads)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def __call__(self, image: NDArray[np.uint8] | Nv12, threads: int | None = None) -> NDArray[np.float32]:
        """The head's input: float32 (1, 3, size, size) in [0, 1]; the same arguments as ``square``."""
        picture = image if isinstance(image, Nv12) else as_rgb(image)
        if not isinstance(picture, Nv12) and self._is_prepared(picture):
            return to_input(picture)
        out = np.empty((1, 3, self.size, self.size), dtype=np.float32)
        self._resample(picture, out[0], threads)
        return out

    def _is_prepared(self, rgb: NDArray[np.uint8]) -> bool:
        return rgb.shape == (self.size, self.size, 3) and self.crop == 1.0

    def _resample(
        self, picture: NDArray[np.uint8] | Nv12, out: NDArray[np.generic], threads: int | None
    ) -> None:
        from runtime.preprocess.resampler import resample  # Numba: half a second to import

        placement = self.placement(*picture.shape[:2])
        if placement.at[2:] != (self.size, self.size):
            out[...] = PADDING
        resample(picture, placement, out, threads)


def to_input(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (size, size, 3) -> float32 (1, 3, size, size) in [0, 1], contiguous."""
    out = np.empty((1, 3, *square.shape[:2]), dtype=np.float32)
    np.multiply(square.transpose(2, 0, 1), np.float32(1 / 255), out=out[0])
    return out


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 HxW, HxWx1, HxWx3 or HxWx4 -> a view of it, uint8 HxWx3. Raises ImageError for anything else."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"an image is a uint8 array of RGB values 0..255, not {kind}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ImageError(
            f"an image has the shape HxW, HxWx1, HxWx3 or HxWx4 and some pixels, not {image.shape}"
        )
    return np.broadcast_to(image, (*image.shape[:2], 3)) if image.shape[2] == 1 else image[:, :, :3]
