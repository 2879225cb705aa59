"""What a mode promises of its result: `descent` comes to rest, and every mode stays within [0, 1]."""

import numpy as np
import pytest

from native_denoise import denoise, reference, settings
from native_denoise.modes import STEP, WEIGHTS, steady_epsilon

NOISE = np.random.default_rng(0).random((24, 25), dtype=np.float32)


def test_descent_comes_to_rest_at_the_default_smoothing_and_not_at_half_of_it():
    """After 200 steps one more moves nothing; with half the smoothing pixels flicker by 0.01."""

    def last_step(epsilon):
        runs = [denoise(NOISE, mode="descent", iterations=n, epsilon=epsilon, threads=1) for n in (200, 201)]
        return np.abs(runs[1] - runs[0]).max()

    assert last_step(None) < 1e-5
    assert last_step(steady_epsilon(STEP, WEIGHTS["descent"]) / 2) > 1e-3


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
@pytest.mark.parametrize(("mode", "weight", "epsilon"), [("descent", 1.0, 1e-4), ("released", 5.0, None)])
@pytest.mark.parametrize("width", [21, 48])
def test_what_overshoots_is_clipped(mode, weight, epsilon, width, kind):
    """A black and white image; settings with which the iterates leave [0, 1] far behind."""
    image = (np.random.default_rng(1).random((20, width)) < 0.5).astype(np.float32)
    chosen = settings(mode, weight, 3, epsilon=epsilon)
    free = reference.solve(image[None], 1.0, chosen)[0]
    assert free.min() < -0.1 and free.max() > 1.1
    given = image if kind == np.float32 else (255 * image).astype(np.uint8)
    top = 1 if kind == np.float32 else 255
    after = denoise(given, mode=mode, weight=weight, iterations=3, epsilon=epsilon, threads=1)
    assert after.min() == 0 and after.max() == top
    np.testing.assert_allclose(after, top * np.clip(free, 0, 1), atol=2e-3 if top == 1 else 1)
