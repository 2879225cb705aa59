"""Cameras and GStreamer pipelines, as far as a machine without either can tell."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import ImageError, StreamError
from runtime.streaming.source import shots
from runtime.streaming.video import MOST_FAILURES, shown

PIPELINE = "v4l2src device=/dev/video0 ! videoconvert ! video/x-raw,format=BGR ! appsink drop=1"
BUILT = """
  Video I/O:
    FFMPEG:                      YES
    GStreamer:                   {answer}
    v4l/v4l2:                    YES (linux/videodev2.h)
"""


class Camera:
    """``cv2.VideoCapture`` of what gives ``frames``: images, errors, and then nothing."""

    def __init__(self, arguments: tuple[Any, ...], frames: list[Any], known: dict[int, float]):
        self.arguments, self.frames, self.known, self.released = arguments, list(frames), known, False

    def isOpened(self) -> bool:
        return True

    def get(self, name: int) -> float:
        return self.known.get(name, -1.0)

    def read(self) -> tuple[bool, Any]:
        if not self.frames:
            return False, None
        if isinstance(frame := self.frames.pop(0), Exception):
            raise frame
        return frame is not None, frame

    def release(self) -> None:
        self.released = True


END = ", down to every 30 s"
FRAME = np.full((4, 6, 3), (0, 10, 200), np.uint8)  # blue, green, red


class Rig:
    """What OpenCV opens, one time after the other: an empty list does not open, an OSError is raised."""

    def __init__(self) -> None:
        self.gives: list[list[Any]] = [[FRAME, FRAME]]
        self.known: dict[int, float] = {}
        self.opened: list[Camera] = []

    def capture(self, *arguments: Any) -> Camera:
        frames = self.gives[min(len(self.opened), len(self.gives) - 1)]
        self.opened.append(Camera(arguments, frames, self.known))
        if frames and isinstance(frames[0], OSError):
            raise frames[0]
        return self.opened[-1]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """An OpenCV with GStreamer, and no pauses."""
    made = Rig()
    monkeypatch.setattr(cv2, "VideoCapture", made.capture)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILT.format(answer="YES (1.20.3)"))
    return made


class Clock:
    """A clock that only ``sleep`` and ``passed`` move; ``pauses``: what was slept, in an instant."""

    def __init__(self) -> None:
        self.passed, self.pauses = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("runtime.streaming.video.time", made)
    return made


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("0", (0,)),
        ("/dev/null", ("/dev/null",)),  # any device: it is no regular file
        ("rtsp://camera/stream", ("rtsp://camera/stream",)),
        ("http://camera/now.jpg", ("http://camera/now.jpg",)),  # not a file here
        (f"gst:{PIPELINE}", (PIPELINE, cv2.CAP_GSTREAMER)),
        ("gst:filesrc location=a.jpg", ("filesrc location=a.jpg", cv2.CAP_GSTREAMER)),  # not an image file
    ],
)
def test_what_opencv_is_asked_for(source: str, arguments: tuple[Any, ...], rig: Rig) -> None:
    frames = list(islice(shots(source), 2))
    (camera,) = rig.opened
    assert camera.arguments == arguments
    assert [frame.name for frame in frames] == ["0", "1"]
    assert frames[0].read()[0, 0].tolist() == [200, 10, 0]


@pytest.mark.parametrize("source", ["0", "/dev/null", "rtsp://me:secret@camera/stream", f"gst:{PIPELINE}"])
def test_what_drops_is_opened_again_and_said(source: str, rig: Rig, clock: Clock) -> None:
    rig.gives = [[FRAME, FRAME], [], [], [FRAME], [FRAME]]
    said: list[str] = []
    frames = shots(source, said.append, clock.sleep)
    assert [next(frames).name for _ in range(3)] == ["0", "1", "2"]
    clock.passed += 60
    assert next(frames).name == "3"
    assert clock.pauses == [1, 2, 4, 1]
    assert len({camera.arguments for camera in rig.opened}) == 1
    assert [camera.released for camera in rig.opened] == [True, True, True, True, False]
    told = shown(source)
    assert [line.removeprefix(told) for line in said] == [
        ": dropped after 2 frames; it is opened again in 1 s, and then less and less often" + END,
        ": back after 7 s",
        ": dropped after 3 frames; it is opened again in 1 s, and then less and less often" + END,
        ": back after 1 s",
    ]
    assert not any("secret" in line for line in said)


def test_the_end_of_the_client_ends_the_pause(rig: Rig, clock: Clock) -> None:
    rig.gives = [[FRAME]]
    frames = shots("0", lambda _: None, lambda seconds: clock.sleep(seconds) or len(clock.pauses) == 2)
    assert [frame.name for frame in frames] == ["0", "1"]
    assert clock.pauses == [1, 2] and all(camera.released for camera in rig.opened)


def test_what_drops_at_once_again_is_opened_less_often(rig: Rig, clock: Clock) -> None:
    rig.gives = [[FRAME]]  # as an address of single pictures
    assert len(list(islice(shots("http://camera/now.jpg", lambda _: None, clock.sleep), 8))) == 8
    assert clock.pauses == [1, 2, 4, 8, 16, 30, 30]


def test_pauses_have_an_end_and_openings_may_raise(rig: Rig, clock: Clock) -> None:
    rig.gives = [[FRAME, FRAME], *(7 * [[OSError("no such device")]]), [FRAME]]
    frames = shots("0", lambda _: None, clock.sleep)
    assert [next(frames).name for _ in range(3)] == ["0", "1", "2"]
    assert clock.pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("source", ["0", "rtsp://camera/stream", "gst:filesrc location=a.avi ! appsink"])
def test_what_opens_and_gives_no_frame_is_an_error(source: str, rig: Rig, clock: Clock) -> None:
    for gives in ([], [cv2.error("bad")]):
        rig.gives = [gives]
        with pytest.raises(StreamError, match="gives no frame"):
            list(shots(source, wait=clock.sleep))
    assert not clock.pauses and all(camera.released for camera in rig.opened)


def test_a_frame_that_opencv_fails_on_costs_itself(rig: Rig, clock: Clock) -> None:
    rig.gives = [[FRAME, cv2.error("bad\ndata"), FRAME], 20 * [cv2.error("gone")], [FRAME]]
    frames = list(islice(shots("0", lambda _: None, clock.sleep), 3 + MOST_FAILURES + 1))
    for number, frame in enumerate(frames):
        if number in (0, 2, len(frames) - 1):
            assert frame.read().shape == (4, 6, 3)
        else:
            with pytest.raises(ImageError, match="cannot be decoded: error: "):
                frame.read()
    assert clock.pauses == [1, 2]


@pytest.mark.parametrize("source", ["http://server/film.mp4", "gst:filesrc location=a.avi ! appsink"])
def test_a_recording_has_an_end_wherever_it_is(source: str, rig: Rig) -> None:
    rig.known = {cv2.CAP_PROP_FRAME_COUNT: 2.0, cv2.CAP_PROP_FPS: 10.0}
    assert len(list(shots(source))) == 2
    (camera,) = rig.opened
    assert camera.released


def test_frames_behind_damaged_ones_of_a_recording(rig: Rig) -> None:
    rig.known = {cv2.CAP_PROP_FRAME_COUNT: 5.0, cv2.CAP_PROP_FPS: 10.0}
    rig.gives = [[FRAME, None, None, FRAME]]
    frames = list(shots("http://server/film.mp4"))
    assert [frame.name for frame in frames] == ["0", "1", "2", "3"]
    for number, frame in enumerate(frames):
        if number in (0, 3):
            assert frame.read().shape == (4, 6, 3)
        else:
            with pytest.raises(ImageError, match="damaged"):
                frame.read()


@pytest.mark.parametrize(
    ("count", "rate", "last", "whole"),
    [
        (20, 10, 200, False),  # a tenth of it
        (20, 10, 0, False),  # of a format that tells no time
        (20, 10, 1900, True),  # fewer frames than estimated, but to its end: a variable rate
        (3, 10, 100, True),  # estimates are out by a frame
    ],
)
def test_a_recording_that_ends_in_the_middle(
    count: float, rate: float, last: float, whole: bool, rig: Rig
) -> None:
    rig.known = {
        cv2.CAP_PROP_FRAME_COUNT: count, cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_POS_MSEC: last
    }  # fmt: skip
    frames = shots("http://me:secret@server/film.mp4")
    assert [next(frames).name for _ in range(2)] == ["0", "1"]
    if whole:
        assert next(frames, None) is None
    else:
        with pytest.raises(StreamError, match=r"://\*\*\*@server.*after 2 frames of about 20"):
            next(frames)


@pytest.mark.parametrize("built", [BUILT.format(answer="NO"), "  Video I/O:\n", ""])
def test_without_gstreamer_the_cure_is_named(built: str, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    with pytest.raises(StreamError, match=r"JetPack.*--system-site-packages"):
        shots(f"gst:{PIPELINE}")
    assert not rig.opened


def test_a_pipeline_that_does_not_open(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Camera, "isOpened", lambda _: False)
    with pytest.raises(StreamError, match="cannot open"):
        shots("gst:no such element ! appsink")


def test_a_video_by_its_path_and_by_its_address(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in (40, 160):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    for source in (str(path), path.as_uri()):
        assert [round(float(shot.read().mean()), -1) for shot in shots(source)] == [40, 160]
