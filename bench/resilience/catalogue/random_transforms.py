"""Random transforms of every frame: the training-free defence of Song et al. (arXiv 2401.11902).

There a frame is compressed as it is and once more after a random transform, and the better of the two is
sent: ``two-way``, by the length of the packet here, as a device cannot see the answer. Alone the transforms
show what the draw is worth. A draw comes from the frame's own bytes, so that a run repeats; no attack here
uses that, and one that knew it could.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Image = NDArray[np.uint8]

LEAST_SHARE = 0.7
"""Of the side, to which a frame is made smaller."""

FARTHEST = 8
"""Pixels of a shift along each axis."""

WIDEST = 10.0
"""Degrees of a rotation."""


def drawn(image: Image) -> np.random.Generator:
    """The draws for one frame: the same frame has the same."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).tobytes()))


def random_flip(image: Image) -> Image:
    """Mirrored left to right, half the time."""
    return np.ascontiguousarray(image[:, ::-1]) if drawn(image).random() < 0.5 else image


def random_resize(image: Image) -> Image:
    """Down to a random share of its side and up again, bicubic."""
    (height, width), share = image.shape[:2], drawn(image).uniform(LEAST_SHARE, 1)
    small = (max(1, round(share * width)), max(1, round(share * height)))
    down = Pillow.fromarray(image).resize(small, Pillow.Resampling.BICUBIC)
    return np.asarray(down.resize((width, height), Pillow.Resampling.BICUBIC))


def random_shift(image: Image) -> Image:
    """Moved along both axes, with its border repeated."""
    down, right = drawn(image).integers(0, 2 * FARTHEST + 1, 2)
    wide = np.pad(image, ((FARTHEST, FARTHEST), (FARTHEST, FARTHEST), (0, 0)), mode="edge")
    return np.ascontiguousarray(wide[down : down + image.shape[0], right : right + image.shape[1]])


def random_rotate(image: Image) -> Image:
    """Turned about its middle, bilinear, with its border repeated."""
    from scipy.ndimage import rotate

    angle = drawn(image).uniform(-WIDEST, WIDEST)
    turned: Image = rotate(image, angle, reshape=False, order=1, mode="nearest")
    return turned


def random_any(image: Image) -> Image:
    """One of the four."""
    chosen = int(drawn(image).integers(0, len(EACH)))
    return EACH[chosen](image)


EACH = (random_flip, random_resize, random_shift, random_rotate)

RANDOM = {
    "random-flip": random_flip,
    "random-resize": random_resize,
    "random-shift": random_shift,
    "random-rotate": random_rotate,
    "random": random_any,
}
"""By the name that ``bench.resilience --defence`` takes."""

LINES = {
    "random-flip": "mirrored left to right, half the time",
    "random-resize": "down to a random 0.7 to 1 of the side, and up again",
    "random-shift": "moved by up to 8 pixels along each axis",
    "random-rotate": "turned by up to 10 degrees",
    "random": "one of the four at random (Song et al.)",
}
"""What each does, for ``--help``."""
