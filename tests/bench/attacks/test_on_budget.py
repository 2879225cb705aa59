"""Attackers who know everything break defences that are known to be weak, and count their bytes right.

The weak defences: a budget far above what frames need; a budget as the only defence; an alarm that never
rings; a mask whose threshold stops the gradient.
"""

import numpy as np
import pytest
import torch

from bench.attacks import threat_named
from bench.attacks.budget import to_uint8
from bench.attacks.classification import margin
from bench.attacks.differentiable.sender import DifferentiableSender
from bench.attacks.differentiable.straight_through import as_pixels
from bench.attacks.differentiable.target import Target
from runtime.guard import Guard
from runtime.guard.alarm import Suspicion
from runtime.guard.defence import Defence
from runtime.head import Head
from tests.bench.attacks.test_sender import budget_of

EPS = 32 / 255
HOW = {"steps": 10}


@pytest.fixture(scope="module")
def alone(bundle, squares):
    """A budget as the only defence, which every clean frame keeps."""
    return Target.open(bundle, Guard("never", budget=budget_of(bundle, squares, 1.0)))


def attacked(name, target, images, labels, **how):
    return as_pixels(threat_named(name)(target, images, labels, EPS, **HOW | how))


def test_a_budget_alone_is_filled_and_never_passed(alone, images, labels):
    frames = attacked("knowing_fill", alone, images, labels)
    budget, sizes = alone.device.head.guard.budget, DifferentiableSender(alone)(frames).bits / 8
    clean = DifferentiableSender(alone)(images).bits / 8
    assert bool((sizes <= budget).all()) and float(sizes.min()) >= budget - 3
    assert float(clean.min()) < budget - 3


def test_bytes_that_it_counts_are_those_of_a_head_that_gets_its_frames(alone, images, squares, labels):
    frames = to_uint8(attacked("knowing_fill", alone, images, labels), squares, EPS)
    head = Head(alone.device.head.bundle, guard=alone.device.head.guard)
    counted = DifferentiableSender(alone)(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).bits / 8
    assert counted.tolist() == [len(head.encode(frame).to_bytes()) for frame in frames]


def test_a_budget_that_is_never_reached_is_no_defence(bundle, target, images, labels):
    """It then has to do as well as the attack on the undefended frame."""
    wide = Target.open(bundle, Guard("never", budget=10_000))
    knowing, blind = (attacked(name, wide, images, labels) for name in ("knowing_fill", "pgd_e"))
    assert float(target.bits(knowing).sum()) > 0.97 * float(target.bits(blind).sum())


def test_an_alarm_that_never_rings_is_no_defence(bundle, squares, images, labels):
    """Nothing is suspicious; over the budget all is fitted. The attacker fills it all the same."""
    guard = Guard("auto", Defence(weight=0.05), budget_of(bundle, squares, 1.0))
    deaf = Target.open(bundle, guard)
    deaf.device.head.alarm = lambda latent: Suspicion(-1.0)
    sizes = DifferentiableSender(deaf)(attacked("knowing_fill", deaf, images, labels)).bits / 8
    assert float(sizes.median()) >= guard.budget - 3


def test_a_mask_without_a_gradient_is_no_defence(bundle, images, labels):
    """The threshold stops the gradient of the mask; straight through it the bytes still grow."""
    guard = Guard("always", Defence(threshold=0.5, coarseness=0, rate_control=0.0))
    masked = Target.open(bundle, guard)
    grown = DifferentiableSender(masked)(attacked("knowing_fill", masked, images, labels)).bits
    assert bool((grown > 1.1 * DifferentiableSender(masked)(images).bits).all())


def test_coarse_steps_are_forced_on_frames(alone, images, labels):
    """Much more of y is lost than of clean frames, and more than who goes for the answer loses."""
    sender = DifferentiableSender(alone)
    lost = {
        name: sender(attacked(name, alone, images, labels)).lost for name in ("knowing_coarse", "knowing_c")
    }
    clean = sender(images).lost
    assert bool((lost["knowing_coarse"] > 2 * clean).all())
    assert float(lost["knowing_coarse"].sum()) > float(lost["knowing_c"].sum())


def test_a_budget_alone_does_not_keep_the_answer(bundle, images, squares, labels):
    """Through the fit every margin rises, and answers change."""
    tight = Target.open(bundle, Guard("never", budget=budget_of(bundle, squares, 0) - 6))
    sender = DifferentiableSender(tight)
    clean = sender.logits(sender(images))
    answers = clean.argmax(1)
    after = margin(sender.logits(sender(attacked("knowing_c", tight, images, answers))), answers)
    assert bool((after > margin(clean, answers)).all())
    assert float((after > 0).float().mean()) > 0.8


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_who_knows_everything_takes_no_fewer_answers_than_who_knows_nothing(
    bundle, images, squares, threshold
):
    """On each image, at a step too few for either to be done, and more on some."""
    guard = Guard("always", Defence(weight=0.05, threshold=threshold), budget_of(bundle, squares, 0.5))
    sender = DifferentiableSender(target := Target.open(bundle, guard))
    answers = sender.logits(sender(images)).argmax(1)
    knowing, blind = (
        margin(sender.logits(sender(attacked(name, target, images, answers, steps=3))), answers)
        for name in ("knowing_c", "pgd_c")
    )
    assert bool((knowing >= blind).all()) and bool((knowing > blind).any())


@pytest.mark.parametrize("kind", ["target", "with_guard", "adapting"])
def test_ordinary_frames_stay_below_alarms_and_below_most_clean_frames(kind, request, images, labels):
    fixture = request.getfixturevalue(kind)
    target = Target.open(fixture) if kind == "adapting" else fixture
    before = target.suspicion(images).worst < 0
    before &= target.bits(images) < target.ordinary_bits
    assert bool(before.any())
    out = attacked("ordinary", target, images, labels, steps=30)
    assert bool((target.suspicion(out).worst[before] < 0).all())
    assert bool((target.bits(out)[before] <= target.ordinary_bits).all())
    assert float(target.bits(out)[before].sum()) > float(target.bits(images)[before].sum())


def test_queries_find_longer_packets_of_the_sender(alone, images, squares, labels):
    out = threat_named("black_box")(alone, images[:2], labels[:2], EPS, steps=40)
    assert np.abs(to_uint8(out, squares[:2], EPS).astype(int) - squares[:2]).max() <= 32
    found, clean = (DifferentiableSender(alone)(x).bits for x in (out, images[:2]))
    assert bool((found > clean).all())
