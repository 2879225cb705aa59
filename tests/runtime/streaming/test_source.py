"""Where frames come from."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError, StreamError
from runtime.streaming.source import paced, shots


def test_a_folder_in_order(pictures: Path) -> None:
    (pictures / "deeper").mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "deeper" / "a.JPG")
    (pictures / "notes.txt").write_text("no image")
    found = list(shots(str(pictures)))
    assert [shot.name for shot in found] == [*(f"{n}.png" for n in range(6)), "deeper/a.JPG"]
    np.testing.assert_array_equal(found[2].read(), np.asarray(Image.open(pictures / "2.png")))


def test_one_image_and_one_that_is_broken(pictures: Path) -> None:
    (shot,) = shots(str(pictures / "0.png"))
    assert shot.read().shape == (48, 40, 3)
    (pictures / "0.png").write_bytes(b"broken")
    with pytest.raises(ImageError):
        shot.read()


def test_a_video_in_rgb(tmp_path: Path) -> None:
    path = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in (0, 100, 200):
        writer.write(np.full((48, 64, 3), (0, 0, level), np.uint8))  # blue, green, red
    writer.release()
    images = [shot.read() for shot in shots(path)]
    assert len(images) == 3 and images[0].shape == (48, 64, 3)
    assert all(image.strides == (3 * 64, 3, -1) for image in images)  # OpenCV's BGR where it lies
    assert [round(float(image[..., 0].mean()), -1) for image in images] == [0, 100, 200]
    assert images[2][..., 2].mean() < 20


def test_a_video_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    for frame in noise:
        writer.write(frame)
    writer.release()
    assert len(list(shots(str(path)))) == 30
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames = shots(str(path))
    for _ in range(10):
        assert next(frames).read().shape == (48, 64, 3)
    with pytest.raises(StreamError, match=r"of about 30: damaged, or cut short"):
        list(frames)


def test_a_folder_says_what_it_passes_over(pictures: Path) -> None:
    (pictures / "x.heic").write_bytes(b"")
    said: list[str] = []
    assert len(list(shots(str(pictures), said.append))) == 6
    assert said == [f"{pictures}: 6 pictures; passed over 1 of another kind (.heic)"]


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("no video")
    for source, message in (
        (str(tmp_path), "no images"),
        (str(tmp_path / "none"), "neither a folder"),
        (str(tmp_path / "x.txt"), "cannot open"),
        (str(tmp_path / "none.jpg"), "no such file"),
        (" ", "no source"),
    ):
        with pytest.raises(StreamError, match=message):
            shots(source)


@pytest.mark.parametrize(
    ("away", "pauses"), [(0.35, [0, 0, 0, 0, 0.05, 0.1]), (60.0, [0, 0, 0.1, 0.1, 0.1, 0.1])]
)
def test_what_a_camera_missed_is_not_made_up_for(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, away: float, pauses: list[float]
) -> None:
    now, slept = 100.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(round(seconds, 6))

    monkeypatch.setattr("runtime.streaming.source.time", SimpleNamespace(monotonic=lambda: now))
    for _ in paced(shots(str(pictures)), 10.0, sleep):
        if len(slept) == 1:
            now += away
    assert slept == pauses


def test_frames_are_paced(pictures: Path) -> None:
    begin = time.monotonic()
    assert len(list(paced(shots(str(pictures)), 50.0))) == 6
    assert time.monotonic() - begin >= 0.1
