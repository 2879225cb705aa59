"""Frames of a camera's size, and what resizing one costs beside Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.common.timing import measure_side_by_side
from runtime.preprocess import Preprocess, to_input

CAMERAS = {"720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
"""Width and height."""

THREADS = (1, 2)


def camera_frame(photo: NDArray[np.uint8], camera: str) -> NDArray[np.uint8]:
    """The photograph at the camera's size, uint8 (H, W, 3): enlarged, and cut above and below."""
    size = CAMERAS[camera]
    image = Image.fromarray(photo)
    scale = max(wanted / given for wanted, given in zip(size, image.size, strict=True))
    wide, tall = (given * scale for given in image.size)
    left, top = (wide - size[0]) / 2 / scale, (tall - size[1]) / 2 / scale
    box = (left, top, image.size[0] - left, image.size[1] - top)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box))


def by_pillow(frame: NDArray[np.uint8], prepare: Preprocess) -> NDArray[np.float32]:
    """The head's input as Pillow makes it of a frame that is not taller than wide."""
    placement = prepare.placement(*frame.shape[:2])
    x, y, wide, tall = placement.at
    square = np.zeros((prepare.size, prepare.size, 3), dtype=np.uint8)
    resized = Image.fromarray(frame).resize((wide, tall), Image.Resampling.BICUBIC, box=placement.box)
    square[y : y + tall, x : x + wide] = np.asarray(resized)
    return to_input(square)


def resize_cost(frame: NDArray[np.uint8], prepare: Preprocess, runs: int) -> dict[str, float]:
    """Median ms of Pillow and of ours, in turns, and Pillow's time over ours by threads.

    Raises RuntimeError where the two do not make the same pixels.
    """
    if not np.array_equal(by_pillow(frame, prepare), prepare(frame)):
        raise RuntimeError("the resampler does not make Pillow's pixels")
    calls = {f"ours_{n}": lambda n=n: prepare(frame, threads=n) for n in THREADS}
    timings = measure_side_by_side({"pillow": lambda: by_pillow(frame, prepare), **calls}, runs)
    pillow = timings["pillow"].p50
    summary = {"resize_pillow_ms_p50": pillow}
    for threads, suffix in zip(THREADS, ("", "_2_threads"), strict=True):
        ours = timings[f"ours_{threads}"].p50
        summary |= {f"resize_ms_p50{suffix}": ours, f"resize_speedup{suffix}": pillow / ours}
    return summary
