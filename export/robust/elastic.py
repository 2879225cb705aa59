"""The elastic transform of ImageNet-C: a random affine map, then a smooth random displacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ELASTIC = ((2.0, 0.7, 0.1), (2.0, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
"""By severity: amplitude of the displacement, its smoothing, reach of the affine map; in units of 244 pixels,
which the published code uses although its images are 224 wide."""
UNIT = 244


def elastic_transform(image: NDArray[np.uint8], severity: int, seed: int) -> NDArray[np.floating]:
    """``image``, uint8 (S, S, 3), transformed at severity 1 to 5, as floats in 0..255; both maps bilinear."""
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(seed)
    grid = np.indices(image.shape[:2], dtype=np.float64)
    reach = UNIT * ELASTIC[severity - 1][2]
    places = affine_map(grid, rng.uniform(-reach, reach, (3, 2)))
    mapped = [map_coordinates(image[..., c] / 255, places, order=1, mode="mirror") for c in range(3)]
    places = grid + displacement(grid.shape[1:], severity, rng)
    moved = [map_coordinates(channel, places, order=1, mode="reflect") for channel in mapped]
    return np.clip(np.stack(moved, axis=-1), 0, 1) * 255


def displacement(shape: tuple[int, ...], severity: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How far each pixel of an image of ``shape`` (H, W) moves: float64 (2, H, W), rows and columns."""
    from scipy.ndimage import gaussian_filter

    amplitude, smoothing, _ = (UNIT * value for value in ELASTIC[severity - 1])
    draws = [rng.uniform(-1, 1, shape) for _ in range(2)]
    return amplitude * np.stack([gaussian_filter(d, smoothing, mode="reflect", truncate=3) for d in draws])


def affine_map(grid: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each pixel of ``grid`` (2, H, W) comes from when three points move by ``shift`` (3, 2) pixels.

    The points lie a third of the shorter side from the centre, on three of the four diagonals.
    """
    height, width = grid.shape[1:]
    centre, side = np.array([height // 2, width // 2]), min(height, width) // 3
    before = centre + side * np.array([[1, 1], [-1, 1], [-1, -1]])
    after = np.column_stack([before + shift, np.ones(3)])
    matrix = np.linalg.solve(after, before)  # [row, column, 1] after -> [row, column] before
    return np.einsum("ij,ihw->jhw", matrix[:2], grid) + matrix[2][:, None, None]
