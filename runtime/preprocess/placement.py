"""Which part of an image goes where in the head's square input, and the way back for boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.preprocess.taps import Taps, bicubic


@dataclass(frozen=True)
class Placement:
    """The part of an image that is resized, and where in the square the result lies.

    box: left, top, right and bottom of the part, in pixels of the image; not rounded.
    at: left, top, width and height of the result, in pixels of the square; the rest is padding.
    height, width: of the image. size: side of the square.
    """

    box: tuple[float, float, float, float]
    at: tuple[int, int, int, int]
    height: int
    width: int
    size: int

    @classmethod
    def crop(cls, height: int, width: int, size: int, share: float) -> Placement:
        """The centred square whose side is ``share`` of the shorter side; it fills the input."""
        side = share * min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return cls((left, top, left + side, top + side), (0, 0, size, size), height, width, size)

    @classmethod
    def pad(cls, height: int, width: int, size: int) -> Placement:
        """The whole image, its longer side as long as the input; bars on both sides of the shorter one."""
        longer = max(height, width)
        tall, wide = (max((2 * side * size + longer) // (2 * longer), 1) for side in (height, width))
        at = ((size - wide) // 2, (size - tall) // 2, wide, tall)
        return cls((0.0, 0.0, float(width), float(height)), at, height, width, size)

    def taps(self) -> tuple[Taps, Taps]:
        """The taps along rows and along columns."""
        (left, top, right, bottom), (_, _, wide, tall) = self.box, self.at
        return bicubic(self.width, left, right, wide), bicubic(self.height, top, bottom, tall)

    def in_image(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Boxes of the square as boxes of the image, float64 (..., 4): left, top, right, bottom in pixels.

        boxes: (..., 4), in sides of the square, 0 to 1. What lies in the padding is moved to the edge.
        """
        (left, top, right, bottom), (x, y, wide, tall) = self.box, self.at
        pixels = np.asarray(boxes, dtype=np.float64).reshape(*np.shape(boxes)[:-1], 2, 2) * self.size
        stretch = np.array([(right - left) / wide, (bottom - top) / tall])
        corners = (pixels - (x, y)) * stretch + (left, top)
        return np.clip(corners, 0.0, (self.width, self.height)).reshape(np.shape(boxes))
