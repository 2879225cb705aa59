"""Frames from a folder of images, an image, a video, a camera or a GStreamer pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from runtime.errors import ImageError, StreamError
from runtime.pictures import SUFFIXES, find_pictures, read_image, tell
from runtime.streaming.video import GST, Shot, video

MOST_LATE = 1.0
"""Seconds that frames may be behind their time, and still come faster until they are not."""


def shots(
    source: str, say: Callable[[str], None] = tell, wait: Callable[[float], object] = time.sleep
) -> Iterator[Shot]:
    """The frames of a folder (images sorted by path), of one image, or of a video that OpenCV opens.

    A video is a file, an address, a camera (its number, or a path such as ``/dev/video0``), or a pipeline
    after ``gst:``. A live one has no end: where it drops, it is opened again. ``say`` gets a line about that,
    and about what a folder holds beside images. ``wait``: as in ``video``.

    Raises StreamError when the source is none of these, cannot be opened, or holds no frame; and, after the
    last frame, when a file ends before its own end.
    """
    if not source.strip():
        raise StreamError("no source: name a folder, an image, a video, a camera, or gst:PIPELINE")
    path = Path(source)
    if source.startswith(GST) or "://" in source:
        return video(source, say, wait)
    if path.is_dir():
        try:
            found = find_pictures(path, say)
        except ImageError as error:
            raise StreamError(str(error)) from error
        return (Shot(str(file.relative_to(path)), partial(read_image, file)) for file in found)
    if path.suffix.lower() in SUFFIXES:
        if not path.exists():
            raise StreamError(f"{path}: no such file")
        return iter([Shot(path.name, partial(read_image, path))])
    return video(source, say, wait)


def paced(
    frames: Iterator[Shot], fps: float | None, wait: Callable[[float], object] = time.sleep
) -> Iterator[Shot]:
    """The same frames, at most ``fps`` a second on average; None: without a limit.

    wait: for so many seconds. A delay of more than ``MOST_LATE`` is not made up for: a camera may have been
    away for hours.
    """
    begin = time.monotonic()
    for number, shot in enumerate(frames):
        if fps is not None:
            early = begin + number / fps - time.monotonic()
            if early < -MOST_LATE:
                begin -= early
            wait(max(0.0, early))
        yield shot
