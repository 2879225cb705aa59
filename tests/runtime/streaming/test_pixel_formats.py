"""Frames of every pixel format that GStreamer hands over."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess import Nv12
from runtime.streaming.pixel_formats import named_format, named_matrix, to_frame

COLOUR = (200, 90, 30)  # red, green, blue: no two alike, so that an exchange shows
YUV = (116, 85, 181)  # the same, of BT.601 in the range of video
HEIGHT, WIDTH = 4, 6


def planar(*planes: int) -> NDArray[np.uint8]:
    """Y, then two planes of chroma of a quarter each."""
    quarter = HEIGHT * WIDTH // 4
    values = np.repeat(np.array(planes, np.uint8), [4 * quarter, quarter, quarter])
    return values.reshape(HEIGHT * 3 // 2, WIDTH)


def semi_planar(y: int, first: int, second: int) -> NDArray[np.uint8]:
    """Y, then both chromas by turns."""
    chroma = np.tile(np.array([first, second], np.uint8), HEIGHT * WIDTH // 4)
    return np.concatenate([np.full(HEIGHT * WIDTH, y, np.uint8), chroma]).reshape(HEIGHT * 3 // 2, WIDTH)


def packed(*values: int) -> NDArray[np.uint8]:
    """Four bytes for two pixels."""
    return np.tile(np.array(values, np.uint8), HEIGHT * WIDTH // 2).reshape(HEIGHT, WIDTH, 2)


def pixels(*values: int) -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, len(values)), values, np.uint8)


Y, U, V = YUV
R, G, B = COLOUR


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("I420", planar(Y, U, V)), ("YV12", planar(Y, V, U)),
        ("NV12", semi_planar(Y, U, V)), ("NV21", semi_planar(Y, V, U)),
        ("YUY2", packed(Y, U, Y, V)), (None, packed(Y, U, Y, V)),
        ("YVYU", packed(Y, V, Y, U)), ("UYVY", packed(U, Y, V, Y)),
        ("BGR", pixels(B, G, R)), (None, pixels(B, G, R)), ("RGB", pixels(R, G, B)),
        ("BGRX", pixels(B, G, R, 0)), (None, pixels(B, G, R, 0)), ("RGBA", pixels(R, G, B, 255)),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_colour(name: str | None, frame: NDArray[np.uint8]) -> None:
    given = to_frame(frame, name, HEIGHT)
    rgb = given.rgb() if isinstance(given, Nv12) else given
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - COLOUR).max() <= 4, rgb[0, 0]


def test_grey() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    wide = grey.astype(np.uint16) * 256
    for name, frame in (
        ("GRAY8", grey), (None, grey[:, :, None]), ("GRAY16_LE", wide), ("GRAY16_BE", wide.byteswap()),
    ):  # fmt: skip
        assert np.array_equal(to_frame(frame, name, HEIGHT), grey)


def test_jpeg() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), COLOUR).save(file, "JPEG")
    frame = np.frombuffer(file.getvalue(), np.uint8)[None]
    rgb = to_frame(frame)
    assert isinstance(rgb, np.ndarray)
    assert np.abs(rgb.astype(int) - COLOUR).max() <= 4


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (None, None),
        (np.zeros((0, 4, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.float32), None),
        (np.zeros((4, 4, 5), np.uint8), None),
        (np.zeros((2, 4, 4, 3), np.uint8), None),
        (np.zeros((5, 5), np.uint8), "NV12"),  # no whole picture
        (np.zeros((6, 6), np.uint8), None),  # 4:2:0 of a height of 4, in an order that nobody named
    ],
)
def test_what_is_no_frame_is_an_image_error(frame: Any, name: str | None) -> None:
    with pytest.raises(ImageError):
        to_frame(frame, name, HEIGHT)


def test_the_caps_name_the_format() -> None:
    for caps, expected in (
        ("video/x-raw,format=NV12 ! appsink", "NV12"),
        ("video/x-raw, format=(string)GRAY8 ! appsink", "GRAY8"),
        ("video/x-raw(memory:NVMM), format=NV12 ! nvvidconv ! video/x-raw,format=BGRx ! appsink", "BGRX"),
        ("v4l2src ! appsink", None),
    ):
        assert named_format(caps) == expected


def test_opencv_and_this_table_agree() -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    assert np.array_equal(to_frame(yuv, "I420", HEIGHT), cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420))


def test_what_a_camera_gives_is_not_copied() -> None:
    bgr, nv12 = pixels(B, G, R), semi_planar(Y, U, V)
    for frame, name in ((bgr, None), (bgr, "BGR"), (nv12, "NV12"), (nv12, "NV21")):
        given = to_frame(frame, name, HEIGHT)
        planes = (given.luma, given.chroma) if isinstance(given, Nv12) else (given,)
        assert all(np.shares_memory(plane, frame) for plane in planes)


def test_the_caps_name_the_matrix() -> None:
    assert named_matrix("video/x-raw,format=NV12,colorimetry=(string)bt709 ! appsink") == "bt709"
    assert named_matrix("video/x-raw,format=NV12 ! appsink") == "bt601"


def test_grey_rows_are_no_jpeg_and_tall_pictures_no_yuv() -> None:
    """A row brighter than a JPEG begins; rows of which one begins like it; a tall camera."""
    white = np.full((1, 8), 255, np.uint8)
    assert (to_frame(white) == 255).all() and to_frame(white).shape == (1, 8)
    begins = np.zeros((4, 8), np.uint8)
    begins[0, :3] = (0xFF, 0xD8, 0xFF)
    np.testing.assert_array_equal(to_frame(begins), begins)
    assert to_frame(np.zeros((8, 4), np.uint8), height=4).shape == (8, 4)
