"""The ascent finds maxima that are known, and its schedule is the published one."""

import pytest
import torch

from bench.attacks.ascent import ascend, checkpoints, schedule
from bench.attacks.budget import L2, Linf
from bench.attacks.differentiable.straight_through import as_pixels, straight_through

EPS = 8 / 255


@pytest.fixture(scope="module")
def grey():
    return torch.full((3, 3, 8, 8), 128 / 255)


def climbed(objective, budget, steps=20, **how):
    return as_pixels(ascend(objective, budget, schedule("unmasked", steps, EPS), **how))


def test_a_linear_aim_ends_in_the_balls_corner(grey):
    slope = torch.randn(grey.shape, generator=torch.Generator().manual_seed(1))
    found = climbed(lambda x: (slope * x).flatten(1).sum(1), Linf(grey, EPS))
    assert torch.allclose(found, grey + EPS * slope.sign(), atol=1e-6)


def test_a_linear_aim_gains_what_an_l2_ball_allows(grey):
    slope = torch.randn(grey.shape, generator=torch.Generator().manual_seed(1))
    found = ascend(lambda x: (slope * x).flatten(1).sum(1), L2(grey, EPS), schedule("unmasked", 40, EPS))
    gained = (slope * (found - grey)).flatten(1).sum(1)
    most = EPS * slope[0].numel() ** 0.5 * slope.flatten(1).norm(dim=1)  # Cauchy-Schwarz
    assert bool((gained > 0.99 * most).all()) and bool((gained <= 1.0001 * most).all())


def test_a_maximum_inside_the_ball_is_found_to_the_last_level(grey):
    """Steps of one length cannot: they jump over it."""
    best = grey + EPS * (torch.rand(grey.shape, generator=torch.Generator().manual_seed(2)) - 0.5)
    found = climbed(lambda x: -(x - best).square().flatten(1).sum(1), Linf(grey, EPS), steps=100)
    assert float((found - best).abs().max()) <= 1 / 255 + 1e-6


def test_each_image_keeps_its_best_place_and_its_own_steps(grey):
    """The aim of one image falls at once wherever it moves; that of the other rises."""
    sign = torch.tensor([1.0, -1.0, 1.0]).view(-1, 1, 1, 1)
    objective = lambda x: (sign * (x - grey).abs()).flatten(1).sum(1)  # noqa: E731
    found = climbed(objective, Linf(grey, EPS), steps=40)
    moved = (found - grey).abs().flatten(1).mean(1)
    assert float(moved[0]) > 0.9 * EPS and float(moved[2]) > 0.9 * EPS
    assert float(moved[1]) < 0.1 * EPS


def test_a_defence_without_a_gradient_stops_the_released_attack_alone(grey):
    """A coarse rounding is a known weak defence: its gradient is zero, and straight through it is not."""

    def bits(x, gradient):
        coarse = (x * 51).round() / 51
        seen = straight_through(coarse, x) if gradient else coarse + 0 * x
        return seen.flatten(1).sum(1)

    clean = bits(grey, gradient=True)
    stopped = ascend(lambda x: bits(x, gradient=False), Linf(grey, EPS), schedule("released", 20, EPS))
    passed = climbed(lambda x: bits(x, gradient=True), Linf(grey, EPS))
    assert torch.equal(bits(stopped, gradient=True), clean)
    assert bool((bits(passed, gradient=True) > 1.02 * clean).all())


def test_restarts_never_lose(grey):
    waves = torch.randn(grey.shape, generator=torch.Generator().manual_seed(3)) * 400
    objective = lambda x: torch.sin(waves * (x - grey)).flatten(1).sum(1)  # noqa: E731
    one, four = (objective(climbed(objective, Linf(grey, EPS), steps=5, seed=7, restarts=n)) for n in (1, 4))
    assert bool((four >= one).all()) and bool((four > one).any())


def test_checkpoints_are_the_published_ones():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(20)) == [4, 8, 11, 14, 16, 17, 19]
    assert not checkpoints(1)
