"""Total-variation denoising of images: the problem, a float64 reference, Numba CPU and CUDA solvers.

from native_denoise import denoise, soft_mask

clean = denoise(image)                                   # (H, W, C) uint8 or float32 in [0, 1]
clean = denoise(image, soft_mask(likelihood, image.shape[:2]), weight=0.1)
"""

from .api import Result, denoise, denoise_planar
from .errors import BackendUnavailable, DenoiseError
from .mask import MaskMemory, soft_mask
from .modes import Settings, settings

__all__ = [
    "BackendUnavailable",
    "DenoiseError",
    "MaskMemory",
    "Result",
    "Settings",
    "denoise",
    "denoise_planar",
    "settings",
    "soft_mask",
]
