import io

import numpy as np
import pytest
from PIL import Image
from scipy import special

from bench.resilience.catalogue.trivial_defences import (
    TRIVIAL,
    bit_depth,
    gaussian_blur,
    median,
    resized,
    total_variation,
)


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    return np.clip(120 + rng.normal(0, 12, (48, 40, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", TRIVIAL)
def test_each_keeps_shape_type_and_argument_and_a_flat_image(name, noisy):
    before = noisy.copy()
    out = TRIVIAL[name](noisy)
    assert out.shape == noisy.shape and out.dtype == np.uint8
    assert np.array_equal(noisy, before)
    assert not np.array_equal(out, noisy) or name in ("random", "random-flip")  # half the flips leave it
    flat = TRIVIAL[name](np.full((32, 32, 3), 119, dtype=np.uint8))
    assert np.abs(flat.astype(int) - 119).max() <= (0 if name.startswith(("blur", "median", "resize")) else 9)


def test_blur_of_an_edge_is_the_normal_distribution():
    image = np.zeros((5, 64, 3), dtype=np.uint8)
    image[:, 32:] = 255
    distance = np.arange(64) - 31.5
    for sigma in (1.0, 1.4):
        row = gaussian_blur(image, sigma)[2, :, 0].astype(float)
        assert np.abs(row - 255 * special.ndtr(distance / sigma)).max() < 6


def test_median_removes_a_dot_and_keeps_an_edge():
    image = np.zeros((9, 12, 3), dtype=np.uint8)
    image[:, 6:] = 200
    edge = image.copy()
    image[4, 2] = 255
    assert np.array_equal(median(image, 3), edge)


def test_bit_depth_has_its_levels():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    for bits in (4, 5):
        out = bit_depth(ramp, bits)
        levels = np.unique(out)
        assert len(levels) == 2**bits and (levels[0], levels[-1]) == (0, 255)
        assert np.abs(out.astype(int) - ramp).max() <= 255 / (2**bits - 1) / 2 + 0.5


def test_jpeg_is_a_picture_of_that_quality(noisy):
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=50, optimize=True)
    assert np.array_equal(TRIVIAL["jpeg-50"](noisy), np.asarray(Image.open(file)))


def test_total_variation_falls_with_the_weight(noisy):
    def variation(image):
        return sum(np.abs(np.diff(image.astype(float), axis=axis)).sum() for axis in (0, 1))

    found = [variation(total_variation(noisy, weight)) for weight in (0.02, 0.05, 0.1)]
    assert variation(noisy) > found[0] > found[1] > found[2]


def test_resizing_keeps_the_coarse_and_drops_the_fine():
    rows, columns = np.indices((64, 64))
    fine = (255 * ((rows + columns) % 2)).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(resized(fine, 0.5).astype(int) - 127)[4:-4, 4:-4].max() <= 3
    coarse = np.rint(127 + 100 * np.sin(rows / 12)).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(resized(coarse, 0.5).astype(int) - coarse).max() <= 3
