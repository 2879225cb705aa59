"""Images as users have them: what is accepted, and one layout, (N, C, H, W), for every solver.

| image     | shape                          | values                      |
|-----------|--------------------------------|-----------------------------|
| one plane | (H, W)                         | float32 in [0, 1] or uint8  |
| one image | (H, W, C), C <= 4              | the same                    |
| a batch   | (N, H, W, C)                   | the same                    |
| mask      | (H, W), or (N, H, W) a batch   | float32 in [0, 1]           |

The views made here share memory with the user's arrays: nothing is copied and nothing of an input is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DenoiseError

SLACK = 1e-5
"""How far float32 values may leave [0, 1] by rounding."""


def as_planes(image: NDArray[Any]) -> NDArray[Any]:
    """View (H, W), (H, W, C) or (N, H, W, C) as (N, C, H, W)."""
    if image.ndim == 2:
        return image[None, None]
    if image.ndim == 3:
        return np.moveaxis(image, -1, 0)[None]
    return np.moveaxis(image, -1, 1)


def check_image(image: Any) -> NDArray[Any]:
    """The image as an array; raises DenoiseError for a wrong kind, shape or range, and for NaN."""
    array = np.asarray(image)
    if array.dtype not in (np.float32, np.uint8):
        raise DenoiseError(
            f"image must be float32 in [0, 1] or uint8, not {array.dtype}: use image.astype('float32')"
        )
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise DenoiseError(
            f"image must be HxW, HxWxC or NxHxWxC and not empty, but its shape is {array.shape}"
        )
    if array.ndim > 2 and array.shape[-1] > 4:
        raise DenoiseError(
            f"image has {array.shape[-1]} channels in its last axis, at most 4 are expected: "
            "denoise_planar takes channels first"
        )
    if array.dtype == np.float32:
        _check_range("image", array, " (for values up to 255 divide by 255 or pass uint8)")
    return array


def check_mask(mask: Any, frames: int, height: int, width: int) -> NDArray[np.float32] | None:
    """The mask as float32 (frames, H, W), one for all frames if it has no N; None stays None."""
    if mask is None:
        return None
    array = np.asarray(mask, dtype=np.float32)
    if array.shape == (height, width):
        array = np.broadcast_to(array, (frames, height, width))
    if array.shape != (frames, height, width):
        raise DenoiseError(
            f"mask must be {height}x{width} or {frames}x{height}x{width} like the image, not {array.shape}"
        )
    _check_range("mask", array, "")
    return array


def check_out(out: NDArray[Any] | None, like: NDArray[Any]) -> NDArray[Any]:
    """``out``, or a new array of the kind of ``like``."""
    if out is None:
        return np.empty(like.shape, dtype=like.dtype)
    if out.shape != like.shape or out.dtype != like.dtype or not out.flags.writeable:
        raise DenoiseError(
            f"out must be a writeable {like.dtype} array of shape {like.shape}, not {out.dtype} {out.shape}"
        )
    if np.may_share_memory(out, like):
        raise DenoiseError("out shares memory with image, which is never altered: pass another array")
    return out


def _check_range(name: str, array: NDArray[np.float32], hint: str) -> None:
    low, high = float(array.min()), float(array.max())
    if np.isnan(low) or np.isnan(high):
        raise DenoiseError(f"{name} holds NaN")
    if low < -SLACK or high > 1 + SLACK:
        raise DenoiseError(f"{name} must lie in [0, 1], but spans [{low:g}, {high:g}]{hint}")
