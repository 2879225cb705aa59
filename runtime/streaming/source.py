"""Frames from a folder of images, an image, a video, a camera or a GStreamer pipeline."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import StreamError
from runtime.preprocess import read_image

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

GST = "gst:"
"""Prefix of a GStreamer pipeline; the pipeline ends in ``! video/x-raw,format=BGR ! appsink``."""


@dataclass(frozen=True)
class Shot:
    """A frame that has not been read yet.

    name: the file's name, or the frame's number in the video.
    read: returns the image, uint8 (H, W, 3) RGB; raises ImageError.
    """

    name: str
    read: Callable[[], NDArray[np.uint8]]


def shots(source: str) -> Iterator[Shot]:
    """The frames of a folder (images sorted by path), of one image, or of a video that OpenCV opens.

    A video is a file, an address, a camera (its number, or a path such as ``/dev/video0``), or a pipeline
    after ``gst:``.

    Raises StreamError when the source is none of these, or cannot be opened.
    """
    path = Path(source)
    if source.startswith(GST):
        return _video(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES)
        if not found:
            raise StreamError(f"{path}: no images ({', '.join(IMAGES)}) in it")
        return (Shot(str(file.relative_to(path)), partial(read_image, file)) for file in found)
    if path.suffix.lower() in IMAGES:
        return iter([Shot(path.name, partial(read_image, path))])
    return _video(source)


def paced(
    frames: Iterator[Shot], fps: float | None, wait: Callable[[float], object] = time.sleep
) -> Iterator[Shot]:
    """The same frames, at most ``fps`` a second; None: without a limit. wait: for so many seconds."""
    begin = time.monotonic()
    for number, shot in enumerate(frames):
        if fps is not None:
            wait(max(0.0, begin + number / fps - time.monotonic()))
        yield shot


def _video(source: str) -> Iterator[Shot]:
    try:
        import cv2
    except ImportError as error:
        raise StreamError(f"{source}: videos need OpenCV: pip install opencv-python-headless") from error
    if source.startswith(GST):
        _check_gstreamer(cv2.getBuildInformation())
        capture = cv2.VideoCapture(source.removeprefix(GST), cv2.CAP_GSTREAMER)
    else:
        camera = source.isascii() and source.isdigit()
        if not camera and not Path(source).exists() and "://" not in source:
            raise StreamError(f"{source}: neither a folder, a file, an address nor a camera")
        capture = cv2.VideoCapture(int(source) if camera else source)
    if not capture.isOpened():
        raise StreamError(f"{source}: OpenCV cannot open it as a video")
    return _frames(capture)


def _check_gstreamer(built: str) -> None:
    """Raises StreamError unless OpenCV says that it was built with GStreamer."""
    if not re.search(r"^\s*GStreamer:\s+YES", built, re.MULTILINE):
        raise StreamError(
            "this OpenCV was built without GStreamer, as those of PyPI are: take the system's instead "
            "(JetPack has one; on Debian and Ubuntu python3-opencv), in an environment made with "
            "python -m venv --system-site-packages and without opencv-python-headless"
        )


def _frames(capture: Any) -> Iterator[Shot]:
    number = 0
    try:
        while True:
            there, image = capture.read()
            if not there:
                return
            yield Shot(str(number), partial(_rgb, image))
            number += 1
    finally:
        capture.release()


def _rgb(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(bgr[:, :, ::-1])
