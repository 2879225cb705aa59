"""Attacks on the guard: stay below its threshold, or make it defend what needs no defence, or know it all."""

from __future__ import annotations

import torch

from bench.attacks.adaptive import adaptive
from bench.attacks.budget import Linf
from bench.attacks.pgd import Objective, ascend
from bench.attacks.rounding import as_pixels
from bench.attacks.settings import STEPS, Setting, schedule
from bench.attacks.target import Target
from bench.attacks.threat import Ascent

SLACK = 1e-3
"""Distance that a score keeps from the threshold: other engines differ in the last digits."""

BISECTIONS = 8


def unsuspected_bits(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Bits of frames that the guard lets pass; of the others, below all bits, how far they are from it."""
    undefended = target.undefended

    def objective(x: torch.Tensor) -> torch.Tensor:
        bits, score = undefended.bits_and_suspicion(x, setting)
        return torch.where(score < -SLACK, bits, -score)

    return objective


stealth = Ascent(unsuspected_bits)
"""Most bits while the guard sends the frame as it is. A clean frame that is suspected already has none."""


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

    What is sent jumps where the guard begins to defend, so both sides are climbed, below the threshold
    (``stealth``) and through the defence (``adaptive``), and of each image the frame is kept of which the
    guard sends more. Raises AttackError for a target without a defence.
    """
    below, through = (
        attack(target, images, labels, eps, steps=steps, seed=seed, setting=setting, restarts=restarts)
        for attack in (stealth, adaptive)
    )
    dearer = (sent_bits(target, below) > sent_bits(target, through)).view(-1, 1, 1, 1)
    return torch.where(dearer, below, through)


@torch.no_grad()
def sent_bits(target: Target, images: torch.Tensor) -> torch.Tensor:
    """Bits of each frame as the guard sends it, after the defence where it is suspicious, (N,)."""
    frames = as_pixels(images)
    plain, score = target.undefended.bits_and_suspicion(frames)
    return torch.where(score > 0, target.bits(frames), plain)


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
    plan = schedule(setting, steps, eps)
    far = ascend(target.suspicion, Linf(images, eps), plan, seed=seed, restarts=restarts) - images
    enough = torch.ones(len(images), 1, 1, 1)
    too_little = torch.zeros_like(enough)
    for _ in range(BISECTIONS):
        share = (enough + too_little) / 2
        with torch.no_grad():
            suspicious = (target.suspicion(as_pixels(images + share * far)) > SLACK).view(-1, 1, 1, 1)
        enough = torch.where(suspicious, share, enough)
        too_little = torch.where(suspicious, too_little, share)
    return Linf(images, eps).frames(enough * far)
