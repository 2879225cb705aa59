"""Any photograph -> the head's input: a centred square, resized, float32 NCHW in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError


@dataclass(frozen=True)
class Preprocess:
    """How a bundle wants its input.

    size: side of the square input, in pixels.
    crop: side of the centred square that is kept, as a fraction of the image's shorter side, in (0, 1].
    """

    size: int
    crop: float

    def square(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The centred square of ``image`` as uint8 (size, size, 3), bicubic with antialiasing.

        ``image``: uint8 HxW (grey), HxWx1, HxWx3 (RGB) or HxWx4 (RGBA, alpha is dropped), 1x1 and up.
        Raises ImageError for anything else. Only the square is resized, never the whole image, so a
        panorama costs no more memory than a square does.
        """
        rgb = as_rgb(image)
        if rgb.shape == (self.size, self.size, 3) and self.crop == 1.0:
            return rgb
        height, width = rgb.shape[:2]
        side = self.crop * min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        resized = Image.fromarray(rgb).resize((self.size, self.size), Image.Resampling.BICUBIC, box=box)
        return np.asarray(resized)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The head's input: float32 (1, 3, size, size) in [0, 1]; the same arguments as ``square``."""
        return to_input(self.square(image))


def to_input(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (size, size, 3) -> float32 (1, 3, size, size) in [0, 1], contiguous."""
    out = np.empty((1, 3, *square.shape[:2]), dtype=np.float32)
    np.multiply(square.transpose(2, 0, 1), np.float32(1 / 255), out=out[0])
    return out


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 HxW, HxWx1, HxWx3 or HxWx4 -> uint8 HxWx3, contiguous. Raises ImageError for anything else."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"an image is a uint8 array of RGB values 0..255, not {kind}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ImageError(
            f"an image has the shape HxW, HxWx1, HxWx3 or HxWx4 and some pixels, not {image.shape}"
        )
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])
