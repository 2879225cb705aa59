"""Candidates for a map of objects: the entropy model's, and trivial ones that it has to beat.

All float64 (cells, cells), larger where the object should be.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray

from native_denoise.cpu.resize import resize
from runtime.latent import Latent

Map = NDArray[np.float64]
OURS = ("surprise", "patches")
TRIVIAL = ("gradient", "variance", "centre", "chance")


def candidates(square: NDArray[np.uint8], latent: Latent) -> dict[str, Map]:
    """By name, for a frame, uint8 (S, S, 3), and its latent:

    surprise: -log2 of the likelihood map; the defence's mask is that map. Any falling function ranks alike.
    patches: bits of y at its own, coarser positions, without the pattern that its basis functions repeat in
        every patch of the likelihood map.
    gradient: mean magnitude of the luma's gradient in the cell: an edge detector.
    variance: the luma's variance in the cell.
    centre: minus the distance to the middle of the frame.
    chance: noise, seeded by the frame.
    """
    surprise = -np.log2(latent.likelihood_map.astype(np.float64))
    cells = len(surprise)
    luma = rgb2gray(square)
    away = np.arange(cells) - (cells - 1) / 2
    return {
        "surprise": surprise,
        "patches": patches(latent, cells),
        "gradient": gradient(square, cells),
        "variance": blocks(luma**2, cells) - blocks(luma, cells) ** 2,
        "centre": -np.hypot(away[:, None], away),
        "chance": np.random.default_rng(zlib.crc32(square.tobytes())).random((cells, cells)),
    }


def patches(latent: Latent, cells: int) -> Map:
    """Bits of y at each of its own positions, a patch of the features, enlarged bilinearly."""
    bits = latent.bits[-1].reshape(latent.shape).sum(axis=0)
    return resize(bits, (cells, cells)).astype(np.float64)


def gradient(square: NDArray[np.uint8], cells: int) -> Map:
    """Mean magnitude of the gradient of the luma, in units of [0, 1] a pixel, in each cell."""
    return blocks(np.hypot(*np.gradient(rgb2gray(square))), cells)


def blocks(image: NDArray[np.floating] | NDArray[np.bool_], cells: int) -> Map:
    """Mean of (S, S) over ``cells`` x ``cells`` blocks; S is a multiple of ``cells``."""
    side = len(image) // cells
    means: Map = image.astype(np.float64).reshape(cells, side, cells, side).mean(axis=(1, 3))
    return means
