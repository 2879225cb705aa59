"""One thread a value: the shapes of launches."""

from __future__ import annotations

from typing import Any

from native_denoise.cuda.device import compiled

ROW = 256
"""Threads of a block over flat arrays."""

TILE = (32, 8)
"""Threads of a block over images, x and y."""


def over_values(kernel: Any, count: int, stream: Any, *arguments: Any) -> None:
    """Queue a kernel with a thread for each of ``count`` values."""
    compiled(kernel)[-(-count // ROW), ROW, stream](*arguments)


def over_pixels(kernel: Any, width: int, height: int, stream: Any, *arguments: Any) -> None:
    """Queue a kernel with a thread for each pixel."""
    blocks = (-(-width // TILE[0]), -(-height // TILE[1]))
    compiled(kernel)[blocks, TILE, stream](*arguments)
