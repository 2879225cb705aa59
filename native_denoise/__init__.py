"""Total-variation denoising of images: the problem, a float64 reference, Numba CPU and CUDA solvers.

    from native_denoise import denoise, soft_mask

    clean = denoise(image)                                   # (H, W, C) uint8 or float32 in [0, 1]
    clean = denoise(image, soft_mask(likelihood, image.shape[:2]), weight=0.1)

``import native_denoise`` is light: each name below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Denoised, denoise, denoise_planar
    from .errors import BackendUnavailable, CudaGraphError, DenoiseError
    from .mask import MaskMemory, soft_mask
    from .modes import Settings, settings

__all__ = [
    "BackendUnavailable",
    "CudaGraphError",
    "DenoiseError",
    "Denoised",
    "MaskMemory",
    "Settings",
    "denoise",
    "denoise_planar",
    "settings",
    "soft_mask",
]

_HOME = {
    "BackendUnavailable": "errors",
    "CudaGraphError": "errors",
    "DenoiseError": "errors",
    "Denoised": "api",
    "MaskMemory": "mask",
    "Settings": "modes",
    "denoise": "api",
    "denoise_planar": "api",
    "settings": "modes",
    "soft_mask": "mask",
}
"""A name -> the module of this package that defines it."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
