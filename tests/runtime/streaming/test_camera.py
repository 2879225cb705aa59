"""Cameras and GStreamer pipelines, as far as a machine without either can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import StreamError
from runtime.streaming.source import shots

PIPELINE = "v4l2src device=/dev/video0 ! videoconvert ! video/x-raw,format=BGR ! appsink drop=1"
BUILT = """
  Video I/O:
    FFMPEG:                      YES
    GStreamer:                   {answer}
    v4l/v4l2:                    YES (linux/videodev2.h)
"""


class Camera:
    """``cv2.VideoCapture`` of a camera with two frames."""

    def __init__(self, *arguments: Any):
        self.arguments, self.left, self.released = arguments, 2, False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), (0, 10, 200), np.uint8)  # blue, green, red

    def release(self) -> None:
        self.released = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Camera]:
    """What has been opened, in an OpenCV with GStreamer."""
    cameras: list[Camera] = []

    def capture(*arguments: Any) -> Camera:
        cameras.append(Camera(*arguments))
        return cameras[-1]

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILT.format(answer="YES (1.20.3)"))
    return cameras


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("0", (0,)),
        ("/dev/null", ("/dev/null",)),  # any device: it is no regular file
        ("rtsp://camera/stream", ("rtsp://camera/stream",)),
        (f"gst:{PIPELINE}", (PIPELINE, cv2.CAP_GSTREAMER)),
        ("gst:filesrc location=a.jpg", ("filesrc location=a.jpg", cv2.CAP_GSTREAMER)),  # not an image file
    ],
)
def test_what_opencv_is_asked_for(source: str, arguments: tuple[Any, ...], opened: list[Camera]) -> None:
    frames = list(shots(source))
    (camera,) = opened
    assert camera.arguments == arguments and camera.released
    assert [frame.name for frame in frames] == ["0", "1"]
    assert frames[0].read()[0, 0].tolist() == [200, 10, 0]


@pytest.mark.parametrize("built", [BUILT.format(answer="NO"), "  Video I/O:\n", ""])
def test_without_gstreamer_the_cure_is_named(
    built: str, opened: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    with pytest.raises(StreamError, match=r"JetPack.*--system-site-packages"):
        shots(f"gst:{PIPELINE}")
    assert not opened


def test_a_pipeline_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILT.format(answer="YES (1.20.3)"))
    monkeypatch.setattr(Camera, "isOpened", lambda _: False)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
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
