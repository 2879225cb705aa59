"""The differentiable sender is Head and Tail forwards, to the byte; backwards its gradients arrive."""

import numpy as np
import pytest
import torch

from bench.attacks.differentiable.device import Device, as_frames
from bench.attacks.differentiable.sender import DifferentiableSender
from bench.attacks.differentiable.target import Target
from bench.common.errors import AttackError
from runtime.codec.coarseness import factor
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.tail import Tail

DEFENCE = Defence(weight=0.05)


def budget_of(bundle, squares, share):
    """A budget that this share of the clean frames, as they come, is under; at least what can be kept."""
    head = Head(bundle)
    sizes = np.sort([head.encode(square).size for square in squares])
    return max(head.least, int(sizes[int(share * (len(sizes) - 1))]))


@pytest.fixture(params=["no budget", "wide", "tight", "budget alone", "always"])
def guard(request, adapting, squares):
    wide, tight = budget_of(adapting, squares, 0.6), budget_of(adapting, squares, 0) - 4
    return {
        "no budget": Guard("auto", DEFENCE),
        "wide": Guard("auto", DEFENCE, wide),
        "tight": Guard("auto", DEFENCE, tight),
        "budget alone": Guard("never", budget=tight),
        "always": Guard("always", DEFENCE, tight),
    }[request.param]


def test_what_it_claims_to_send_is_what_the_head_sends(adapting, guard, images, squares):
    sender, head, tail = (
        DifferentiableSender(Target.open(adapting, guard)),
        Head(adapting, guard=guard),
        Tail(adapting),
    )
    sent = sender(images)
    packets = [head.encode(square).to_bytes() for square in squares]
    assert (sent.bits / 8).tolist() == [len(packet) for packet in packets]
    answers = np.stack([tail.decode(packet) for packet in packets])
    assert sender.logits(sent).numpy() == pytest.approx(answers, abs=1e-4)


def test_every_look_of_the_guard_is_found(adapting, squares):
    device = Device.of(Head(adapting, guard=Guard("auto", DEFENCE)))
    looks = sorted(device.send(square).look for square in squares)
    assert looks == ["adapted"] * 2 + ["plain"] * 2 + ["shield"] * 2


def test_what_is_lost_is_the_distance_in_steps(bundle, images, squares):
    guard = Guard("never", budget=budget_of(bundle, squares, 0.3))
    head, expected = Head(bundle, guard=guard), []
    for square in squares:
        head.encode(square)
        decision = head.report.decision
        first, sent = decision.first.streams[-1], decision.sent.streams[-1]
        lost = np.square(first.values - sent.symbols * factor(sent.coarseness)).sum()
        expected.append(lost if decision.rung in ("plain", "fitted") else None)
    found = DifferentiableSender(Target.open(bundle, guard))(images).lost.tolist()
    known = [number for number, one in enumerate(expected) if one is not None]
    assert len(known) >= 2
    assert [found[n] for n in known] == pytest.approx([expected[n] for n in known], rel=1e-4)


@pytest.mark.parametrize("field", ["bits", "before", "logits"])
def test_gradients_pass_the_decision_and_the_fit(adapting, guard, images, field):
    sender, x = DifferentiableSender(Target.open(adapting, guard)), images.clone().requires_grad_(True)
    sent = sender(x)
    value = sender.logits(sent) if field == "logits" else getattr(sent, field)
    value.sum().backward()
    reached = (x.grad != 0).flatten(1).float().mean(1)
    assert bool(torch.isfinite(x.grad).all()) and bool((reached > 0.5).all())


def test_frames_are_what_a_camera_sends(images, squares):
    assert np.array_equal(as_frames(images), squares)


def test_a_target_without_a_guard_is_refused(target):
    with pytest.raises(AttackError, match="Guard"):
        DifferentiableSender(target)
