"""The resampler makes Pillow's pixels, of every layout that a camera has, and boxes find their way back."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess import Nv12, Preprocess, to_input
from runtime.preprocess.nv12 import LUMA_OF, Matrix
from runtime.preprocess.placement import Placement

VIEWS = {
    "as it is": lambda image: image,
    "BGR": lambda image: image[:, :, ::-1],
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "a part": lambda image: image[image.shape[0] // 3 :, image.shape[1] // 4 :],
    "every other row": lambda image: image[::2],
    "every other column": lambda image: image[:, ::2],
    "turned": lambda image: image.transpose(1, 0, 2),
}
PREPARATIONS = st.one_of(
    st.builds(Preprocess, st.integers(1, 80), st.floats(0.05, 1.0)),
    st.builds(Preprocess, st.integers(1, 80), st.just(1.0), st.just("pad")),
)


def by_pillow(image: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Rows first in every version of Pillow, by one call for each pass."""
    (left, top, right, bottom), (x, y, wide, tall) = placement.box, placement.at
    whole, bicubic = Image.fromarray(np.ascontiguousarray(image)), Image.Resampling.BICUBIC
    narrow = whole.resize((wide, placement.height), bicubic, box=(left, 0, right, placement.height))
    square = np.zeros((placement.size, placement.size, 3), dtype=np.uint8)
    square[y : y + tall, x : x + wide] = narrow.resize((wide, tall), bicubic, box=(0, top, wide, bottom))
    return square


@given(
    height=st.integers(1, 200), width=st.integers(1, 200), prepare=PREPARATIONS,
    view=st.sampled_from(sorted(VIEWS)), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_pixels_are_pillows(height: int, width: int, prepare: Preprocess, view: str, seed: int) -> None:
    image = VIEWS[view](np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    square = prepare.square(image)
    np.testing.assert_array_equal(square, by_pillow(image, prepare.placement(*image.shape[:2])))
    np.testing.assert_array_equal(prepare(image), to_input(square))


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_threads_change_nothing(fit: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    prepare = Preprocess(96, 1.0, fit)  # type: ignore[arg-type]
    one = prepare.square(image, threads=1)
    np.testing.assert_array_equal(one, by_pillow(image, prepare.placement(1080, 1920)))
    np.testing.assert_array_equal(one, prepare.square(image, threads=3))


def test_memory_that_is_read_only_or_grey_is_read() -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 90), dtype=np.uint8)
    image.flags.writeable = False
    three = np.repeat(image[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(Preprocess(31, 0.9)(image), Preprocess(31, 0.9)(three))


@given(
    height=st.integers(1, 60), width=st.integers(1, 60), prepare=PREPARATIONS, padding=st.integers(0, 5),
    matrix=st.sampled_from(get_args(Matrix)), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nv12_is_resized_as_its_rgb(
    height: int, width: int, prepare: Preprocess, padding: int, matrix: Matrix, seed: int
) -> None:
    size = 3 * height, 2 * width + 2 * padding
    rows = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    frame = Nv12.of(rows[:, : 2 * width], matrix)
    assert np.shares_memory(frame.luma, rows) and np.shares_memory(frame.chroma, rows)
    np.testing.assert_array_equal(prepare.square(frame), prepare.square(frame.rgb()))


def test_bt601_is_opencvs() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (150, 200), dtype=np.uint8)
    np.testing.assert_array_equal(Nv12.of(frame).rgb(), cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12))


@pytest.mark.parametrize("matrix", get_args(Matrix))
def test_the_matrix_inverts_the_standards(matrix: Matrix) -> None:
    """From RGB by the definition, Y = Kr R + Kg G + Kb B, and back, but for what rounding takes."""
    kr, kb = LUMA_OF[matrix]
    rgb = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    red, green, blue = np.moveaxis(rgb / 255, -1, 0)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    luma = np.rint(16 + 219 * y).astype(np.uint8)
    chroma = np.stack(((blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)), axis=-1)[::2, ::2]
    frame = Nv12(luma, np.rint(128 + 224 * chroma).astype(np.uint8), matrix)
    assert np.abs(frame.rgb().astype(int) - rgb).max() <= 2


@pytest.mark.parametrize(
    "shapes", [((4, 5), (2, 2, 2)), ((4, 4), (2, 2)), ((4, 4), (4, 4, 2)), ((0, 4), (0, 2, 2))]
)
def test_planes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ImageError, match="NV12"):
        Nv12(*(np.zeros(shape, dtype=np.uint8) for shape in shapes))


@given(height=st.integers(1, 900), width=st.integers(1, 900), prepare=PREPARATIONS)
def test_boxes_go_back_to_where_they_came_from(height: int, width: int, prepare: Preprocess) -> None:
    placement = prepare.placement(height, width)
    x, y, wide, tall = placement.at
    corners = np.array([[x, y, x + wide, y + tall]]) / prepare.size
    np.testing.assert_allclose(placement.in_image(corners), [placement.box], rtol=1e-9, atol=1e-6)
    everything = placement.in_image(np.array([-1.0, -1.0, 2.0, 2.0]))
    assert everything.min() >= 0 and everything[2] <= width and everything[3] <= height


def test_a_letterbox_is_black_bars_around_the_whole_image() -> None:
    square = Preprocess(40, 1.0, "pad").square(np.full((30, 60, 3), 200, dtype=np.uint8))
    assert (square[:10] == 0).all() and (square[10:30] == 200).all() and (square[30:] == 0).all()
