"""Many different frames at little cost: photographs in variants, and latents that no photograph has.

A photograph has to go through the head, so only every ``PHOTO_EVERY``-th frame is one. The others are latents
at the head's output: the last photograph's, disturbed, or random ones. Random z go far beyond the range to
which the exact h_s is clamped, so that every table, mean and clamp is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engines import EngineOptions, open_engine

Image = NDArray[np.uint8]
Latents = list[NDArray[np.float32]]

PHOTO_EVERY = 8
KINDS = ("photograph", "disturbed", "random")


def frames(bundle: Bundle, photographs: list[Image], seed: int) -> Iterator[tuple[str, Latents]]:
    """Endless: kind and latents, y and z where there is one, float32 (1, C, H, W) each."""
    rng = np.random.default_rng(seed)
    head = open_engine(bundle.graph("head"), EngineOptions(threads=1))
    for number in count():
        if number % PHOTO_EVERY == 0:
            photograph = photographs[number // PHOTO_EVERY % len(photographs)]
            real = head.run(bundle.manifest.preprocess(varied(photograph, rng)))
            yield "photograph", real
        elif number % 2:
            yield "disturbed", [_disturbed(latent, rng) for latent in real]
        else:
            y, *z = real
            yield "random", [_random(y.shape, 1, rng), *(_random(part.shape, 2, rng) for part in z)]


def varied(image: Image, rng: np.random.Generator) -> Image:
    """A random crop, mirrored or not, of random contrast, with noise from none to heavy; the same dtype."""
    height, width = image.shape[:2]
    side = int(rng.uniform(0.3, 1.0) * min(height, width))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = image[top : top + side, left : left + side][:, :: rng.choice((-1, 1))].astype(np.float32)
    contrast, noise = np.float32(rng.uniform(0.3, 1.5)), np.float32(rng.choice((0, 4, 16, 64)))
    values = 128 + contrast * (crop - 128) + noise * rng.standard_normal(crop.shape, dtype=np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _disturbed(latent: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Larger or smaller as a whole, and noise on top."""
    gain, noise = np.exp(rng.normal(0, 0.5)), rng.uniform(0, 2)
    return (gain * latent + noise * rng.standard_normal(latent.shape)).astype(np.float32)


def _random(shape: tuple[int, ...], largest: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Heavy-tailed, from nearly all zero to spread over some 10**largest."""
    return (10 ** rng.uniform(-1, largest) * rng.standard_t(3, shape)).astype(np.float32)
