"""No frame leaves its budget, whatever eps is and whatever the attack returned."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.attacks.budget import L2, Linf, levels, to_uint8

EPS = st.one_of(st.integers(0, 64).map(lambda k: k / 255), st.floats(0, 0.3))
SEEDS = st.integers(0, 1000)


def wild(seed):
    """Originals full of blacks and whites, and images anywhere in [0, 1]."""
    rng = np.random.default_rng(seed)
    originals = np.clip(rng.integers(-100, 356, (2, 6, 6, 3)), 0, 255).astype(np.uint8)
    attacked = torch.from_numpy(rng.random((2, 3, 6, 6), dtype=np.float32))
    return originals, attacked


@given(EPS, SEEDS)
def test_linf_frames_change_by_eps_at_most(eps, seed):
    originals, attacked = wild(seed)
    change = to_uint8(attacked, originals, eps).astype(int) - originals
    assert np.abs(change).max() / 255 <= eps


@given(EPS, SEEDS)
def test_l2_frames_change_by_a_root_mean_square_of_eps_at_most(eps, seed):
    originals, attacked = wild(seed)
    change = to_uint8(attacked, originals, eps, "l2").astype(int) - originals
    for squares in (change**2).reshape(2, -1).sum(1):
        assert squares <= (255 * eps) ** 2 * originals[0].size


@given(EPS, SEEDS)
@settings(max_examples=30)
def test_l2_frames_use_their_budget(eps, seed):
    """A perturbation inside the ball keeps at least what rounding every value towards zero would leave."""
    originals, attacked = wild(seed)
    images = torch.from_numpy(originals).permute(0, 3, 1, 2).float() / 255
    inside = L2(images, eps).frames(attacked - images)
    change = np.abs(to_uint8(inside, originals, eps, "l2").astype(int) - originals)
    exact = np.abs(255 * inside.permute(0, 2, 3, 1).double().numpy() - originals)
    assert (change >= np.floor(exact - 1e-3)).all()


@given(st.integers(0, 255))
def test_whole_levels_are_kept(k):
    assert levels(k / 255) == k
    assert levels(math.nextafter(k / 255, 1)) == k
    assert levels(math.nextafter(k / 255, -1)) == k - 1


@given(SEEDS)
def test_frames_inside_the_budget_are_only_rounded(seed):
    originals, attacked = wild(seed)
    rounded = np.rint(255 * attacked.permute(0, 2, 3, 1).numpy()).astype(np.uint8)
    assert np.array_equal(to_uint8(attacked, originals, 1.0), rounded)
    assert np.array_equal(to_uint8(attacked, originals, 1.0, "l2"), rounded)


@pytest.mark.parametrize("ball", [Linf, L2])
@given(eps=EPS, seed=SEEDS)
@settings(max_examples=20)
def test_starts_and_steps_stay_inside(ball, eps, seed):
    originals, _ = wild(seed)
    images = torch.from_numpy(originals).permute(0, 3, 1, 2).float() / 255
    budget, generator = ball(images, eps), torch.Generator().manual_seed(seed)
    delta = budget.start(generator)
    for step in (0.1, 2 * eps):
        delta = budget.ascend(delta, torch.randn(images.shape, generator=generator), step)
        frames = budget.frames(delta)
        change = (frames - images).double()
        size = change.abs().amax() if ball is Linf else change.square().mean((1, 2, 3)).sqrt().amax()
        assert float(size) <= eps + 1e-6
        assert float(frames.min()) >= 0 and float(frames.max()) <= 1


def test_l2_steps_are_as_long_as_they_say():
    images = torch.full((2, 3, 8, 8), 0.5)
    gradient = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    delta = L2(images, 1.0).ascend(torch.zeros_like(images), gradient, 0.01)
    assert delta.square().mean((1, 2, 3)).sqrt().numpy() == pytest.approx([0.01, 0.01], rel=1e-5)
    assert float((delta * gradient).sum()) > 0
