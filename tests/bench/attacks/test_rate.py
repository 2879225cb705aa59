"""PGD-E makes packets grow, and more with a larger budget, more steps and more runs."""

import numpy as np
import pytest
import torch

from bench.attacks import norm_of, threat_named
from bench.attacks.budget import to_uint8
from runtime.head import Head


@pytest.fixture(scope="module")
def sizes(bundle, target, images, squares, labels):
    """(threat, eps of 255, how) -> bytes of each packet after to_uint8."""
    head = Head(bundle)

    def measured(name, level, **how):
        out = threat_named(name)(target, images, labels, level / 255, **how)
        frames = to_uint8(out, squares, level / 255, norm_of(name))
        return np.array([len(head.encode(frame).to_bytes()) for frame in frames])

    return measured


@pytest.mark.parametrize("name", ["pgd_e", "pgd_e_l2"])
def test_packets_grow_and_more_with_a_larger_budget(name, sizes):
    grown = [sizes(name, level).sum() for level in (0, 4, 16)]
    assert grown[0] < grown[1] < grown[2]


def test_it_beats_noise_of_the_same_size(sizes):
    assert sizes("pgd_e", 8).sum() > 1.05 * sizes("noise", 8).sum()


def test_the_l2_ball_holds_the_linf_ball(sizes):
    assert sizes("pgd_e_l2", 8).sum() > sizes("pgd_e", 8).sum()


def test_released_is_weaker_than_unmasked(sizes):
    assert sizes("pgd_e", 4, setting="released").sum() < sizes("pgd_e", 4).sum()


def test_restarts_keep_each_images_best(target, images, labels):
    one, three = (
        threat_named("pgd_e")(target, images, labels, 4 / 255, steps=3, restarts=runs) for runs in (1, 3)
    )
    bits = [target.bits((255 * x).round() / 255) for x in (one, three)]
    assert bool((bits[1] >= bits[0]).all()) and bool((bits[1] > bits[0]).any())


def test_the_same_seed_is_the_same_attack(target, images, labels):
    first, again, other = (
        threat_named("pgd_e")(target, images, labels, 0.02, steps=3, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_released_steps_land_on_corners(target, images, labels):
    eps = 8 / 255
    out = threat_named("pgd_e")(target, images, labels, eps, steps=1, setting="released")
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    x = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(target.bits(x, "released").sum(), x)
    corner = torch.where(gradient > 0, high, torch.where(gradient < 0, low, images))
    assert bool((gradient != 0).any()) and torch.allclose(out, corner, atol=1e-7)
