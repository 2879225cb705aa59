"""What the denoiser is measured on, photograph, noise and mask, and how good a result is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_denoise import objective

Image = NDArray[np.float32]

SIDE = 224


def photograph(side: int = SIDE) -> Image:
    """A photograph that scikit-image carries; without it discs, edges and a texture."""
    try:
        from skimage import data, transform

        picture = transform.resize(data.astronaut() / 255.0, (side, side), anti_aliasing=True)
        return picture.astype(np.float32)
    except ImportError:
        y, x = np.mgrid[:side, :side] / side
        base = 0.5 + 0.2 * (np.hypot(x - 0.5, y - 0.4) < 0.3) - 0.3 * (x > y) + 0.05 * np.sin(80 * x * y)
        return np.clip(np.stack([base, 0.8 * base, 1 - base], axis=-1), 0, 1).astype(np.float32)


def disturbed(clean: Image, amplitude: float = 8 / 255, seed: int = 0) -> Image:
    """``clean`` plus or minus ``amplitude``: every value on a corner of the box that an attack may use."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], clean.shape)
    return np.clip(clean + amplitude * signs, 0, 1).astype(np.float32)


def smooth_mask(height: int, width: int) -> Image:
    """Small in the middle, large outside, like the likelihood of a photograph with an object in it."""
    y, x = np.mgrid[:height, :width]
    return np.clip(np.hypot(x / width - 0.5, y / height - 0.5) * 1.6, 0, 1).astype(np.float32)


def energy(u: Image, f: Image, weight: float) -> float:
    """E per value, all channels."""
    planes = [np.asarray(z, dtype=np.float64).transpose(2, 0, 1) for z in (u, f)]
    return objective.energy(planes[0], planes[1], weight) / u.size


def psnr(u: Image, clean: Image) -> float:
    """In dB against the photograph without noise."""
    return float(-10 * np.log10(((np.asarray(u, dtype=np.float64) - clean) ** 2).mean()))
