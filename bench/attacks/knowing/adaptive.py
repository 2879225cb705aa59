"""Attacks that know the defence: rate and margin, differentiated through mask, denoiser and second pass.

The attacker knows the bundle and the defence, and takes every frame to be defended. The denoiser is
unrolled, so gradients are exact. Only what is rounded, thresholded or rate-controlled passes them straight
through (BPDA, Athalye et al., 2018). Nothing on the way is random, so no expectation over transformations
is taken.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Objective, Setting
from bench.attacks.classification import margin
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent
from bench.common.errors import AttackError


def most_defended_bits(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Bits of the frame after the defence. Raises AttackError for a target without one."""
    _check_defended(target)
    return lambda x: target.bits(x, setting)


def missed_label_defended(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Margin of the answer to the defended frame. Raises AttackError for a target without a defence."""
    _check_defended(target)
    return lambda x: margin(target.logits(x), labels)


def _check_defended(target: Target) -> None:
    if target.defence is None:
        raise AttackError("an adaptive attack needs a defence: Target.open(bundle, defence)")


adaptive = Ascent(most_defended_bits)
"""Most bytes after the defence, which it knows."""

adaptive_c = Ascent(missed_label_defended)
"""A wrong answer after the defence, which it knows."""
