"""Octave bands of the orthonormal two-dimensional DCT-II of a frame.

Band b, 0 <= b < 8, has the coefficients (u, v) with hypot(u, v) from S / 2^(7-b) to S / 2^(6-b); the first
begins at the lowest and the last goes to the corner. In periods: from more than 128 pixels to less than 2.
The mean, (0, 0), belongs to no band and is left alone.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

COUNT = 8
MEAN = -1

Planes = NDArray[np.float64]


def band_index(size: int) -> NDArray[np.int64]:
    """Band of each coefficient of a (size, size) frame, int64 (size, size); ``MEAN`` at (0, 0)."""
    line = np.arange(size)
    index = np.digitize(np.hypot(line[:, None], line), edges(size)[1:-1])
    index[0, 0] = MEAN
    return index


def bands(size: int) -> list[int]:
    """The bands that have coefficients: all from 128 pixels on, without the lowest in smaller frames."""
    return [band for band in range(COUNT) if (band_index(size) == band).any()]


def edges(size: int) -> NDArray[np.float64]:
    """The COUNT + 1 borders of the bands in half periods a frame: 0, size / 64, ..., size, infinity."""
    inner = size / 2.0 ** np.arange(COUNT - 2, -1, -1)
    return np.concatenate([[0.0], inner, [np.inf]])


def wavelengths(size: int) -> list[str]:
    """Each band's range of periods in pixels, for readers: ``32-64``."""
    periods = [2 * size / edge for edge in edges(size)[1:-1]]
    inner = [f"{short:g}-{long:g}" for long, short in pairwise(periods)]
    return [f">{periods[0]:g}", *inner, f"<{periods[-1]:g}"]


def coefficients(planes: Planes) -> Planes:
    """DCT of (..., S, S) over the last two axes; energy stays, so the inverse is the transpose."""
    transformed: Planes = dctn(planes, axes=(-2, -1), norm="ortho")
    return transformed


def keep(planes: Planes, chosen: NDArray[np.bool_]) -> Planes:
    """``planes`` (..., S, S) with only the ``chosen`` coefficients, bool (S, S)."""
    kept: Planes = idctn(coefficients(planes) * chosen, axes=(-2, -1), norm="ortho")
    return kept


def energy_by_band(planes: Planes) -> NDArray[np.float64]:
    """Share of the energy of (C, S, S) in each band, float64 (COUNT,); what is missing to 1 is the mean's.

    Zero where there is no energy at all.
    """
    energy = (coefficients(planes) ** 2).sum(axis=0)
    index = band_index(planes.shape[-1])
    shares = np.array([energy[index == band].sum() for band in range(COUNT)])
    return shares / max(float(energy.sum()), np.finfo(np.float64).tiny)


def noise(size: int, band: int, rms: float, rng: np.random.Generator) -> Planes:
    """Gaussian noise (3, size, size) in one band, whose root mean square is exactly ``rms``.

    Raises ValueError when a frame is too small to have that band.
    """
    chosen = band_index(size) == band
    if not chosen.any():
        raise ValueError(f"a frame of {size} x {size} has no coefficients in band {band}")
    limited = idctn(rng.normal(size=(3, size, size)) * chosen, axes=(-2, -1), norm="ortho")
    scaled: Planes = limited * (rms / np.sqrt(np.mean(limited**2)))
    return scaled
