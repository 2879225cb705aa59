"""Any image becomes a square, or says clearly why not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess import Preprocess, as_rgb, to_input

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

    PREPARE(np.zeros((50, 50, 3), dtype=np.uint8))  # compiles
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
