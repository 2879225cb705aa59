"""Each random transform is what it is called; the same frame has the same draw, others have others."""

import numpy as np
import pytest

from bench.resilience.catalogue.random_transforms import FARTHEST, RANDOM, random_flip, random_shift


@pytest.fixture(scope="module")
def frames():
    return [np.random.default_rng(n).integers(0, 256, (40, 40, 3), dtype=np.uint8) for n in range(12)]


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_frame_has_the_same_draw(name, frames):
    for frame in frames[:3]:
        assert np.array_equal(RANDOM[name](frame), RANDOM[name](frame.copy()))


def test_flips_are_mirrors_about_half_the_time(frames):
    mirrored = [np.array_equal(random_flip(frame), frame[:, ::-1]) for frame in frames]
    left = [np.array_equal(random_flip(frame), frame) for frame in frames]
    assert all(a != b for a, b in zip(mirrored, left, strict=True))
    assert 2 <= sum(mirrored) <= 10


def test_shifts_move_the_middle_by_a_few_pixels_and_differ(frames):
    found = set()
    for frame in frames:
        shifted, reach = random_shift(frame), range(-FARTHEST, FARTHEST + 1)
        middle = shifted[16:24, 16:24]
        at = [
            (y, x) for y in reach for x in reach
            if np.array_equal(frame[16 + y : 24 + y, 16 + x : 24 + x], middle)
        ]  # fmt: skip
        assert len(at) == 1
        found.add(at[0])
    assert len(found) > 6
