"""Arrays -> PNG in data URIs, the pictures of the page."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.latent import Latent

HEAT = np.array([[13, 17, 40], [58, 40, 120], [178, 55, 108], [245, 130, 60], [252, 235, 160]], np.float32)
"""Colours from few bits to many, dark to light, so that a grey copy reads as well; RGB, float32 (5, 3)."""

Picture = dict[str, str]
Frame = TypeVar("Frame")


class Once(Generic[Frame]):
    """Makes the pictures of a frame once for all viewers. Thread-safe."""

    def __init__(self, make: Callable[[Frame], list[Picture]]):
        self._make, self._lock = make, threading.Lock()
        self._frame: Frame | None = None
        self._pictures: list[Picture] = []

    def __call__(self, frame: Frame) -> list[Picture]:
        """The pictures of this very object."""
        with self._lock:
            if frame is not self._frame:
                self._pictures, self._frame = self._make(frame), frame
            return self._pictures


def picture(title: str, note: str, pixels: NDArray[np.uint8]) -> Picture:
    """A titled PNG of pixels, uint8 (H, W) or (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    text = base64.b64encode(file.getvalue()).decode()
    return {"title": title, "note": note, "src": f"data:image/png;base64,{text}"}


def grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] of any shape -> uint8 of the same shape."""
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def heat(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values >= 0, (H, W) -> colours, uint8 (H, W, 3); the largest value is the lightest colour."""
    places = np.linspace(0, 1, len(HEAT))
    share = values / max(float(values.max()), 1e-9)
    channels = [np.interp(share, places, HEAT[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def bits_by_position(latent: Latent) -> NDArray[np.float32]:
    """Bits of y at each position of the latent, float32 (H, W)."""
    _, height, width = latent.shape
    return latent.bits[-1].reshape(-1, height, width).sum(axis=0)


def bits_picture(latent: Latent) -> Picture:
    """A picture of the sent latent's bits by position."""
    bits = bits_by_position(latent)
    note = f"{latent.expected_bits / 8:,.0f} bytes, most {bits.max() / 8:,.0f} at one position"
    return picture("bits", note, heat(bits))
