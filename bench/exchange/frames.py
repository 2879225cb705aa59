"""The frames that two machines encode: crops of photographs, some mirrored, most of them noisy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.common.errors import ExchangeError

SIZE = 224
"""Side of the frames, in pixels: what the default bundles take without resizing."""

NOISE = (0.0, 0.0, 8.0, 32.0, 96.0)
"""Standard deviations of the noise, of 255: from none to hardly anything else."""


def varied(images: list[NDArray[np.uint8]], count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """``count`` different frames, uint8 (count, size, size, 3): crops, some mirrored, most noisy."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        image = images[number % len(images)]
        side = int(min(image.shape[:2]) * rng.uniform(0.4, 1.0))
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        crop = Image.fromarray(image).resize(
            (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
        )
        pixels = np.asarray(crop)[:, :: int(rng.choice([-1, 1]))]
        noise = rng.normal(0.0, rng.choice(NOISE), pixels.shape)
        frames[number] = np.clip(np.rint(pixels + noise), 0, 255)
    return frames


def read_frames(file: Path) -> NDArray[np.uint8]:
    """The frames of a file that ``bench.exchange frames`` wrote. Raises ExchangeError where it is none."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            frames: NDArray[np.uint8] = archive["frames"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ExchangeError(
            f"{file}: no frames: make them: python -m bench.exchange frames {file}"
        ) from error
    return frames
