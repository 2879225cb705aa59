"""Frames of a video file, an address, a camera or a GStreamer pipeline, by OpenCV.

A recording ends, and that it ends in the middle is an error. A live source does not end: it drops, and is
opened again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError, StreamError
from runtime.preprocess import Nv12
from runtime.streaming.pixel_formats import named_format, named_matrix, to_frame

GST = "gst:"
"""Prefix of a GStreamer pipeline that ends in ``! appsink``."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a live source is opened again: doubled until it gives frames for longer than it paused."""

STEADY = 5.0
"""So many times as long: what drops at once again, or gives single pictures, is not opened without end."""

MOST_FAILURES = 10
"""Frames in a row that raise an error: after them the source counts as dropped."""

MOST_MISSING = 10_000
"""Frames in a row of a recording that are damaged, before others are given up."""

WHOLE = 0.9
"""Share of its frames, or of its duration, that a recording gives at least: both are estimates."""


@dataclass(frozen=True)
class Shot:
    """A frame that has not been read yet.

    name: the file's name, or the frame's number in the video.
    read: returns the image, uint8 (H, W, 3) RGB or (H, W), or NV12; raises ImageError.
    """

    name: str
    read: Callable[[], NDArray[np.uint8] | Nv12]


def video(
    source: str, say: Callable[[str], None], wait: Callable[[float], object] = time.sleep
) -> Iterator[Shot]:
    """The frames of a video; ``say`` gets a line when a live one drops, and when it is back.

    wait: for so many seconds, before a live one is opened again; true ends it, as ``Event.wait`` does.

    Raises StreamError when it cannot be opened, and, on iteration, when it has no frame or is cut short.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # else a line or more for each damaged frame
    try:
        import cv2
    except ImportError as error:
        raise StreamError(
            f"{shown(source)}: videos need OpenCV: pip install opencv-python-headless"
        ) from error
    arguments: tuple[Any, ...]
    if source.startswith(GST):
        _check_gstreamer(cv2.getBuildInformation())
        arguments = (source.removeprefix(GST), cv2.CAP_GSTREAMER)
    else:
        camera = source.isascii() and source.isdigit()
        if not camera and "://" not in source and not Path(source).exists():
            raise StreamError(f"{source}: neither a folder, a file, an address nor a camera")
        arguments = (int(source) if camera else source,)
    capture = cv2.VideoCapture(*arguments)
    if not capture.isOpened():
        raise StreamError(f"{shown(source)}: OpenCV cannot open it as a video")
    if _is_live(source, capture):
        return _live(source, capture, partial(cv2.VideoCapture, *arguments), say, wait)
    return _recorded(source, capture)


def shown(source: str) -> str:
    """A source for messages: without the password that an address may hold."""
    return re.sub(r"://[^/@\s]*@", "://***@", source)


def _check_gstreamer(built: str) -> None:
    """Raises StreamError unless OpenCV says that it was built with GStreamer."""
    if not re.search(r"^\s*GStreamer:\s+YES", built, re.MULTILINE):
        raise StreamError(
            "this OpenCV was built without GStreamer, as those of PyPI are: take the system's instead "
            "(JetPack has one; on Debian and Ubuntu python3-opencv), in an environment made with "
            "python -m venv --system-site-packages and without opencv-python-headless"
        )


def _is_live(source: str, capture: Any) -> bool:
    """Whether a source has no end: it is no file, and does not know how many frames it has."""
    if source.startswith(GST):
        if re.search(r"filesrc|file://|num-buffers\s*=", source):
            return False
    elif source.startswith("file://") or (not source.isdigit() and Path(source).is_file()):
        return False
    return not _property(capture, "CAP_PROP_FRAME_COUNT") > 0


def _recorded(source: str, capture: Any) -> Iterator[Shot]:
    expected, rate = (_property(capture, name) for name in ("CAP_PROP_FRAME_COUNT", "CAP_PROP_FPS"))
    number, whole, last = 0, 0, 0.0
    try:
        for decoded, read in _frames(source, capture, expected):
            yield Shot(str(number), read)
            number, whole = number + 1, whole + decoded
            last = max(last, _property(capture, "CAP_PROP_POS_MSEC") / 1e3)
    finally:
        capture.release()
    if whole == 0:
        raise StreamError(f"{shown(source)}: it opens as a video, and gives no frame: damaged, or empty")
    seconds = expected / rate if expected > 0 and rate > 0 else 0.0
    # Both, for the number is often an estimate from the duration, and not all formats tell the time.
    if number < WHOLE * expected - 1 and last < WHOLE * seconds:
        raise StreamError(
            f"{shown(source)}: it ends after {number} frames of about {expected:.0f}: damaged, or cut short"
        )


def _live(
    source: str,
    capture: Any,
    reopen: Callable[[], Any],
    say: Callable[[str], None],
    wait: Callable[[float], object],
) -> Iterator[Shot]:
    number, whole, pause, dropped, back = 0, 0, FIRST_PAUSE, None, time.monotonic()
    while True:
        try:
            for decoded, read in _frames(source, capture):
                if decoded and dropped is not None:
                    back = time.monotonic()
                    say(f"{shown(source)}: back after {back - dropped:.0f} s")
                    dropped = None
                yield Shot(str(number), read)
                number, whole = number + 1, whole + decoded
        finally:
            capture.release()
        if whole == 0:
            raise StreamError(f"{shown(source)}: it opens, and gives no frame")
        if dropped is None:
            dropped = time.monotonic()
            if dropped - back > STEADY * pause:
                pause = FIRST_PAUSE
            say(
                f"{shown(source)}: dropped after {number} frames; it is opened again in {pause:.0f} s, and "
                f"then less and less often, down to every {LONGEST_PAUSE:.0f} s"
            )
        if wait(pause):
            return
        pause = min(2 * pause, LONGEST_PAUSE)
        with suppress(Exception):  # as one that does not open: the old one gives no more frames
            capture = reopen()


def _frames(
    source: str, capture: Any, expected: float = 0.0
) -> Iterator[tuple[bool, Callable[[], NDArray[np.uint8] | Nv12]]]:
    """Whether OpenCV decoded each frame, and what returns it or raises ImageError.

    expected: frames of a recording. Others may come behind damaged ones, which look like the end to OpenCV.
    """
    pixel_format = named_format(source) if source.startswith(GST) else None
    matrix = named_matrix(source)
    height = int(_property(capture, "CAP_PROP_FRAME_HEIGHT"))
    failures = number = missing = 0
    while failures < MOST_FAILURES:
        try:
            there, frame = capture.read()
        except Exception as error:  # whatever a decoder raises costs that frame
            failures += 1
            yield False, partial(_failed, " ".join(f"{type(error).__name__}: {error}".split())[:200])
            continue
        if not there:
            missing += 1
            if number + missing > expected or missing > MOST_MISSING:
                return
            continue
        for _ in range(missing):
            yield False, partial(_failed, "damaged")
        number, missing, failures = number + missing + 1, 0, 0
        yield True, partial(to_frame, frame, pixel_format, height, matrix)


def _failed(why: str) -> NDArray[np.uint8]:
    raise ImageError(f"a frame that cannot be decoded: {why}")


def _property(capture: Any, name: str) -> float:
    """A property of the capture, 0 where the backend does not know it."""
    import cv2

    value = float(capture.get(getattr(cv2, name)))
    return value if np.isfinite(value) and value > 0 else 0.0
