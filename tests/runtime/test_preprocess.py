"""Any image becomes a square, or says clearly why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess import Preprocess, as_rgb, read_image, to_input

PREPARE = Preprocess(size=32, crop=1.0)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    channels=st.sampled_from([None, 1, 3, 4]),
    crop=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100)
def test_any_uint8_image_is_prepared(
    height: int, width: int, channels: int | None, crop: float, seed: int
) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    out = Preprocess(16, crop)(image)
    assert out.shape == (1, 3, 16, 16) and out.dtype == np.float32 and out.flags.c_contiguous
    assert out.min() >= 0 and out.max() <= 1
    assert np.array_equal(image, before)


def test_constant_image_stays_constant() -> None:
    image = np.full((50, 70, 3), 77, dtype=np.uint8)
    assert np.array_equal(PREPARE.square(image), np.full((32, 32, 3), 77))
    assert PREPARE(image) == pytest.approx(77 / 255, abs=1e-7)


def test_own_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(PREPARE.square(image), image)


def test_the_square_is_centred() -> None:
    image = np.zeros((32, 96, 3), dtype=np.uint8)
    image[:, 32:64] = 200
    assert (PREPARE.square(image) == 200).all()


def test_crop_keeps_the_given_share() -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[16:48, 16:48] = 255
    assert (Preprocess(32, 0.5).square(image) == 255).all()


def test_as_pillow_resizes_the_whole_square() -> None:
    image = np.random.default_rng(1).integers(0, 256, (57, 57, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(PREPARE.square(image), expected)


def test_to_input_is_exact_at_the_ends() -> None:
    square = np.array([[[0, 255, 51]]], dtype=np.uint8)
    assert to_input(square).ravel().tolist() == [0.0, 1.0, np.float32(51) * np.float32(1 / 255)]


def test_panorama_takes_little_memory() -> None:
    import tracemalloc

    image = np.zeros((8000, 10, 3), dtype=np.uint8)
    tracemalloc.start()
    assert PREPARE(image).shape == (1, 3, 32, 32)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4, 2), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((2, 4, 4, 3), dtype=np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_what_is_no_image_is_refused(bad: object) -> None:
    with pytest.raises(ImageError, match="an image"):
        as_rgb(bad)  # type: ignore[arg-type]


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_is_read(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 12 * 9).reshape(12, 9).astype(np.uint8))
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "F", "I", "I;16") else "x.png")
    grey.convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (12, 9, 3) and image.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 256, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png")[0, :, 0].tolist() == [0, 1, 255]


def test_orientation_is_obeyed(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").shape == (8, 4, 3)


def test_unreadable_files_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ImageError, match="not an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(ImageError):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_truncated_files_are_an_image_error(suffix: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(pixels).save(whole)
    data = whole.read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 30):
        part = tmp_path / f"part.{suffix}"
        part.write_bytes(data[:length])
        try:
            image = read_image(part)
        except ImageError:
            continue
        assert image.shape == (64, 64, 3)  # a format that still decodes without its last bytes


def test_monstrous_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(ImageError, match=r"scale it down|decompression bomb"):
        read_image(path)
