"""Unlabelled photographs for calibration and training: found, read, cropped, in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError
from runtime.pictures import find_pictures, read_image, readable
from runtime.preprocess import Preprocess

if TYPE_CHECKING:
    import torch

MARGIN = 1.125
"""Times the input's side: photographs without this reserve have often been enlarged already."""


def usable(
    folder: str | Path, size: int, least: int | None = None
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """The photographs under ``folder`` that can be read and are sharp enough, sorted; and their pixels.

    Those with little resolution in reserve are left out: enlarged ones are soft and teach low rates. Files
    that cannot be read are passed over, with a line each and their number.

    size: side of the network's input. least: shortest side of a photograph; None: ``MARGIN`` times ``size``.

    Raises ImageError when there is no photograph, or none is usable.
    """
    kept, least = 0, math.ceil(MARGIN * size) if least is None else least
    for path, image in readable(find_pictures(folder), read_image):
        if min(image.shape[:2]) >= least:
            kept += 1
            yield path, image
    if not kept:
        raise ImageError(
            f"{folder}: no photograph is large enough for {size} pixels: its shorter side needs {least}"
        )


def photographs_of(folder: str | Path, size: int, least: int | None = None) -> list[Path]:
    """The files of ``usable`` photographs. All are read: what is missing is said now, not after hours."""
    return [path for path, _ in usable(folder, size, least)]


def squares(
    paths: list[Path], preprocess: Preprocess, views: int, seed: int = 0
) -> Iterator[NDArray[np.uint8]]:
    """``views`` squares of each image, uint8 (size, size, 3): the plain view, then random ones.

    The plain view is what the runtime sees; a random one is a crop of 75 to 100 % of the side, mirrored half
    the time.
    """
    rng = np.random.default_rng(seed)
    for path in paths:
        image = read_image(path)
        yield preprocess.square(image)
        for _ in range(views - 1):
            yield random_view(image, preprocess, rng)


def random_view(
    photograph: NDArray[np.uint8], preprocess: Preprocess, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random crop of a photograph, mirrored half the time, uint8 (size, size, 3)."""
    view = preprocess.square(_random_square(photograph, rng))
    return view[:, ::-1] if rng.random() < 0.5 else view


def to_tensor(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Frames uint8 (N, S, S, 3) -> float32 (N, 3, S, S) in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float() / 255


def _random_square(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of 75 to 100 % of the shorter side, at a random place."""
    height, width = image.shape[:2]
    side = int(min(height, width) * rng.uniform(0.75, 1.0))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return image[top : top + side, left : left + side]
