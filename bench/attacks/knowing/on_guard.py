"""Attacks on the guard's decision: stay below its alarms, set them off, or play against decision and defence.

The attacker knows the bundle and the guard's alarms; ``adaptive_guard`` knows the defence as well. None knows
the budget: see ``on_budget``.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import STEPS, Objective, Setting, ascend, schedule
from bench.attacks.budget import Linf
from bench.attacks.differentiable.straight_through import as_pixels
from bench.attacks.differentiable.target import Target
from bench.attacks.knowing.adaptive import adaptive
from bench.attacks.threat import Ascent

SLACK = 1e-3
"""Distance that scores keep from the threshold: other engines differ in the last digits."""

BISECTIONS = 8


def unsuspected_bits(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Bits of frames that the guard lets pass; minus the score, which is below all bits, of the others."""

    def objective(x: torch.Tensor) -> torch.Tensor:
        bits, suspicion = target.bits_and_suspicion(x, setting)
        return torch.where(suspicion.worst < -SLACK, bits, -suspicion.worst)

    return objective


def adapted_bits(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Bits through the adapted head of frames that do not look attacked; minus the score of the others.

    The objective does not ask that a frame looks corrupted: frames that cost many bits mostly do.
    """

    def objective(x: torch.Tensor) -> torch.Tensor:
        attack = target.suspicion(x).attack
        return torch.where(attack < -SLACK, target.adapted_bits(x, setting), -attack)

    return objective


def ordinary_bits(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Bits of frames that set off no alarm and are ordinary; minus the larger excess of the others."""

    def objective(x: torch.Tensor) -> torch.Tensor:
        bits, suspicion = target.bits_and_suspicion(x, setting)
        excess = torch.maximum(suspicion.worst, bits / target.ordinary_bits - 1)
        return torch.where(excess < -SLACK, bits, -excess)

    return objective


stealth = Ascent(unsuspected_bits)
"""Most bytes below the guard's alarms, which it knows: those of attack and of corruption.

A clean frame that sets off an alarm by itself gains nothing.
"""

ordinary = Ascent(ordinary_bits)
"""Most bytes below the guard's alarms and below 99 of 100 clean frames: nothing in it is worth a defence."""

through_adapted_head = Ascent(adapted_bits)
"""Most bytes through the adapted head, below the alarm of attack."""


def adaptive_guard(
    target: Target,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    *,
    steps: int = STEPS,
    seed: int = 0,
    setting: Setting = "unmasked",
    restarts: int = 1,
) -> torch.Tensor:
    """Most bytes behind the guard; it knows decision and defence.

    The bits jump where the guard decides otherwise, so there is one ascent for each of its three answers:
    sent as it is (``stealth``), looked at again (``through_adapted_head``), defended (``adaptive``). Each
    image keeps the frame with the most bytes behind the guard. Raises AttackError for a target without a
    defence.
    """
    frames = torch.stack(
        [
            attack(target, images, labels, eps, steps=steps, seed=seed, setting=setting, restarts=restarts)
            for attack in (stealth, through_adapted_head, adaptive)
        ]
    )
    dearest = torch.stack([sent_bits(target, each) for each in frames]).argmax(0)
    return frames[dearest, torch.arange(len(images))]


@torch.no_grad()
def sent_bits(target: Target, images: torch.Tensor) -> torch.Tensor:
    """Bits of each frame behind the guard, (N,): as it is, looked at again, or after the defence."""
    frames = as_pixels(images)
    plain, suspicion = target.bits_and_suspicion(frames)
    not_attacked = torch.where(suspicion.corruption > 0, target.adapted_bits(frames), plain)
    return torch.where(suspicion.attack > 0, target.bits(frames), not_attacked)


def provoke(
    target: Target,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    *,
    steps: int = STEPS,
    seed: int = 0,
    setting: Setting = "unmasked",
    restarts: int = 1,
) -> torch.Tensor:
    """The least change that makes the guard defend; the harm is left to the defence.

    Bisection draws the most suspicious frame inside the eps ball back towards the image, along a line, as
    long as it stays suspicious in 8 bits. A frame that never becomes suspicious is returned as it is.
    """

    def score(x: torch.Tensor) -> torch.Tensor:
        return target.suspicion(x).attack

    plan = schedule(setting, steps, eps)
    far = ascend(score, Linf(images, eps), plan, seed=seed, restarts=restarts) - images
    enough = torch.ones(len(images), 1, 1, 1)
    too_little = torch.zeros_like(enough)
    for _ in range(BISECTIONS):
        share = (enough + too_little) / 2
        with torch.no_grad():
            suspicious = (score(as_pixels(images + share * far)) > SLACK).view(-1, 1, 1, 1)
        enough = torch.where(suspicious, share, enough)
        too_little = torch.where(suspicious, too_little, share)
    return Linf(images, eps).frames(enough * far)
