"""JPEG, WebP and AVIF (Pillow): what a device sends that leaves the whole network to the server."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from bench.common.errors import MissingPackage

LOWEST, HIGHEST = 1, 95
"""Qualities that are tried: Pillow advises against more than 95."""


@dataclass(frozen=True)
class ImageCodec:
    """One format.

    options: Pillow's, for saving.
    feature: what Pillow must have been built with; None: it always has it.
    """

    name: str
    options: dict[str, Any]
    feature: str | None = None

    def missing(self) -> str | None:
        """Why this Pillow cannot write the format; None where it can."""
        if self.feature is None or features.check(self.feature):
            return None
        return (
            f"this Pillow ({Image.__version__}) was built without {self.name.upper()}: "
            "pip install -U 'pillow>=11.3', whose wheels have it"
        )

    def encode(self, square: NDArray[np.uint8], quality: int) -> bytes:
        """uint8 HxWx3 -> a whole file, its header included; a higher quality takes more bytes.

        Raises MissingPackage where Pillow lacks the format.
        """
        file = io.BytesIO()
        try:
            Image.fromarray(square).save(file, quality=quality, **self.options)
        except (KeyError, OSError) as error:
            raise MissingPackage(self.missing() or f"{self.name}: {error}") from error
        return file.getvalue()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """A file -> uint8 HxWx3."""
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    def nearest_quality(self, square: NDArray[np.uint8], target: int) -> int:
        """The quality whose file is nearest to ``target`` bytes; the lowest when all are larger."""
        low, high = LOWEST, HIGHEST  # sizes grow with quality, by and large: halve
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.encode(square, middle)) <= target else (low, middle)
        return min((low, high), key=lambda quality: abs(len(self.encode(square, quality)) - target))


JPEG = ImageCodec("jpeg", {"format": "JPEG", "optimize": True})
WEBP = ImageCodec("webp", {"format": "WEBP"}, "webp")
AVIF = ImageCodec("avif", {"format": "AVIF"}, "avif")
CODECS = (JPEG, WEBP, AVIF)
"""AVIF takes a hundred times as long as JPEG to encode."""
