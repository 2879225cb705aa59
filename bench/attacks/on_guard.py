"""Attacks on the guard: stay below its threshold, or make it defend what needs no defence, or know it all."""

from __future__ import annotations

import torch

from bench.attacks.adaptive import adaptive
from bench.attacks.ascent import STEPS, Objective, Setting, ascend, schedule
from bench.attacks.budget import Linf
from bench.attacks.differentiable.straight_through import as_pixels
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent

SLACK = 1e-3
"""Distance that scores keep from the threshold: other engines differ in the last digits."""

BISECTIONS = 8


def unsuspected_bits(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Bits of frames that the guard lets pass; of the others, below all bits, how far they are from it."""

    def objective(x: torch.Tensor) -> torch.Tensor:
        bits, suspicion = target.bits_and_suspicion(x, setting)
        return torch.where(suspicion.worst < -SLACK, bits, -suspicion.worst)

    return objective


def adapted_bits(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Bits, as the adapted head sees them, of frames that do not look attacked; of others as above.

    Nothing makes a frame look corrupted here: what costs bits without looking attacked mostly does.
    """

    def objective(x: torch.Tensor) -> torch.Tensor:
        attack = target.suspicion(x).attack
        return torch.where(attack < -SLACK, target.adapted_bits(x, setting), -attack)

    return objective


stealth = Ascent(unsuspected_bits)
"""Most bits while the guard sends the frame as it is: below the alarms of attack and corruption. A clean
frame that is suspected already has none."""

second_look = Ascent(adapted_bits)
"""Most bits through the adapted head."""


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
    """See ``Threat``: most bits against decision and defence together.

    What is sent jumps where the guard decides otherwise, so each of its three answers is climbed: frames that
    are sent as they are (``stealth``), that are looked at again (``second_look``), and through the defence
    (``adaptive``). Of each image the frame is kept of which the guard sends most. Raises AttackError for a
    target without a defence.
    """
    frames = torch.stack(
        [
            attack(target, images, labels, eps, steps=steps, seed=seed, setting=setting, restarts=restarts)
            for attack in (stealth, second_look, adaptive)
        ]
    )
    dearest = torch.stack([sent_bits(target, each) for each in frames]).argmax(0)
    return frames[dearest, torch.arange(len(images))]


@torch.no_grad()
def sent_bits(target: Target, images: torch.Tensor) -> torch.Tensor:
    """Bits of each frame as the guard sends it: as it is, looked at again, or after the defence, (N,)."""
    frames = as_pixels(images)
    plain, suspicion = target.bits_and_suspicion(frames)
    calm = torch.where(suspicion.corruption > 0, target.adapted_bits(frames), plain)
    return torch.where(suspicion.attack > 0, target.bits(frames), calm)


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
    """See ``Threat``: the least change that makes the guard defend, so that the defence itself does the harm.

    The most suspicious frame inside the budget is drawn back towards the image, along a line and by
    bisection, as long as it stays suspicious in 8 bits. Where even that frame is not, it is what is returned.
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
