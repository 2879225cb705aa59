"""The taps make the pixels that Pillow makes, to the last bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native_denoise.vectors.fixed_point import WEIGHT_BITS
from runtime.preprocess import Preprocess
from runtime.preprocess.taps import Taps, bicubic


def along_rows(image: NDArray[np.uint8], taps: Taps) -> NDArray[np.uint8]:
    """What the kernels do, in NumPy."""
    place = np.minimum(taps.first[:, None] + np.arange(taps.weights.shape[1]), image.shape[1] - 1)
    sums = (image[:, place].astype(np.int64) * taps.weights[None, :, :, None]).sum(axis=2)
    assert np.abs(sums).max() < 2**31 - 2**WEIGHT_BITS  # so the kernels could do with 32 bits
    return np.clip((sums + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS, 0, 255).astype(np.uint8)


@settings(max_examples=60)
@given(
    height=st.integers(1, 150), more=st.integers(0, 150), size=st.integers(1, 64),
    crop=st.floats(0.05, 1.0), seed=st.integers(0, 9),
)  # fmt: skip
def test_two_passes_are_pillows_resize(height: int, more: int, size: int, crop: float, seed: int) -> None:
    width = height + more
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = crop * height
    left, top = (width - side) / 2, (height - side) / 2
    narrow = along_rows(image, bicubic(width, left, left + side, size))
    small = along_rows(narrow.transpose(1, 0, 2), bicubic(height, top, top + side, size)).transpose(1, 0, 2)
    np.testing.assert_array_equal(small, Preprocess(size, crop).square(image))


def test_taps_stay_inside_the_image() -> None:
    for length, begin, end, size in ((5, 0, 5, 9), (100, 12.25, 88.5, 7), (1, 0, 1, 3), (3, 1, 2, 64)):
        taps = bicubic(length, begin, end, size)
        place = taps.first[:, None] + np.arange(taps.weights.shape[1])
        assert np.all(taps.weights[place >= length] == 0)
        assert taps.first.min() >= 0 and np.all(np.diff(taps.first) >= 0)
        one = 1 << WEIGHT_BITS
        assert np.all(np.abs(taps.weights.sum(axis=1) - one) <= taps.weights.shape[1])
