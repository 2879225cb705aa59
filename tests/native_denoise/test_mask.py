"""The mask: resizing against Pillow's convention, its variants, and the memory of a video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_denoise import DenoiseError, MaskMemory, soft_mask
from native_denoise.mask import MIN_SPAN


def bilinear(small, shape):
    """Interpolation between pixel centres, written as its definition."""
    out = np.empty(shape)
    for y, x in np.ndindex(*shape):
        v = min(max((y + 0.5) * small.shape[0] / shape[0] - 0.5, 0), small.shape[0] - 1)
        u = min(max((x + 0.5) * small.shape[1] / shape[1] - 0.5, 0), small.shape[1] - 1)
        top, left = int(v), int(u)
        bottom, right = min(top + 1, small.shape[0] - 1), min(left + 1, small.shape[1] - 1)
        upper = small[top, left] * (1 - (u - left)) + small[top, right] * (u - left)
        lower = small[bottom, left] * (1 - (u - left)) + small[bottom, right] * (u - left)
        out[y, x] = upper * (1 - (v - top)) + lower * (v - top)
    return out


@given(
    old=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    new=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 99),
)
def test_resizes_bilinearly_between_centres(old, new, seed):
    small = np.random.default_rng(seed).random(old)
    mask = soft_mask(small, new)
    assert mask.shape == new
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, bilinear(small, new), atol=1e-6)


def test_range_and_constant():
    np.testing.assert_allclose(soft_mask(np.full((7, 7), 0.3), (224, 224)), 0.3, atol=1e-6)
    mask = soft_mask(np.random.default_rng(0).random((28, 28)), (224, 200))
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6


def test_variants():
    small = np.array([[0.2, 0.4], [0.4, 0.6]])
    np.testing.assert_allclose(soft_mask(small, (2, 2), stretch=True), [[0, 0.5], [0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(soft_mask(small, (2, 2), power=2), small**2, atol=1e-6)
    np.testing.assert_array_equal(soft_mask(small, (2, 2), threshold=0.4), [[0, 1], [1, 1]])
    flat = np.array([[0.5, 0.51]])
    np.testing.assert_allclose(soft_mask(flat, (1, 2), stretch=True), flat, atol=1e-6)


def test_the_least_span_that_is_stretched():
    """A map of span 0.1 is stretched to [0, 1] like any other; one below MIN_SPAN stays as it is."""
    small = np.array([[0.4, 0.45, 0.5]])
    np.testing.assert_allclose(soft_mask(small, (1, 3), stretch=True), [[0, 0.5, 1]], atol=1e-5)
    wide, narrow = (np.array([[0.6, 0.6 + share * MIN_SPAN]]) for share in (1.05, 0.95))
    np.testing.assert_allclose(soft_mask(wide, (1, 2), stretch=True), [[0, 1]], atol=1e-4)
    np.testing.assert_allclose(soft_mask(narrow, (1, 2), stretch=True), narrow, atol=1e-6)


def test_out():
    out = np.empty((8, 9), dtype=np.float32)
    assert soft_mask(np.ones((2, 2)), (8, 9), out=out) is out
    np.testing.assert_allclose(out, 1.0)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"likelihood": np.zeros(4)}, "2-D"),
        ({"likelihood": np.zeros((0, 4))}, "2-D"),
        ({"likelihood": np.full((2, 2), np.nan)}, "likelihoods"),
        ({"likelihood": np.full((2, 2), 1.2)}, "likelihoods"),
        ({"power": 0.0}, "power"),
        ({"shape": (0, 4)}, "shape"),
    ],
)
def test_refusals(arguments, match):
    with pytest.raises(DenoiseError, match=match):
        soft_mask(**{"likelihood": np.zeros((2, 2)), "shape": (4, 4), **arguments})


def test_memory_averages_and_fades():
    memory = MaskMemory(keep=0.5, fade=0.2)
    assert memory.mask((4, 4)) is None
    memory.update(np.zeros((2, 2)))
    np.testing.assert_allclose(memory.mask((4, 4)), 0.0)
    memory.update(np.full((2, 2), 0.8))
    np.testing.assert_allclose(memory.mask((4, 4)), 0.4, atol=1e-6)
    # No update since: what the memory knows ages towards 1.
    np.testing.assert_allclose(memory.mask((4, 4)), 0.4 + 0.2 * 0.6, atol=1e-6)
    memory.update(np.zeros((3, 3)))
    np.testing.assert_allclose(memory.mask((4, 4)), 0.0)


def test_memory_keeps_the_share_that_it_is_told_to_keep():
    """m <- 0.8 m + 0.2 map: three maps, none of which weighs as much as another."""
    memory = MaskMemory(keep=0.8)
    memory.update(np.array([[0.0, 1.0]]))
    memory.update(np.array([[0.5, 0.0]]))
    np.testing.assert_allclose(memory.mask((1, 2)), [[0.1, 0.8]], atol=1e-6)
    memory.update(np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(memory.mask((1, 2)), [[0.28, 0.84]], atol=1e-6)


@pytest.mark.parametrize("arguments", [{"keep": 1.0}, {"keep": -0.1}, {"fade": 1.1}])
def test_memory_refuses(arguments):
    with pytest.raises(DenoiseError):
        MaskMemory(**arguments)
