"""PGD-E on a part of the frame: the background only, or the object only.

The attacker knows the bundle and the defence's mask, but attacks the rate of the undefended frame. The
defence smooths the background and leaves the object alone, so it should remove the one attack and be
helpless against the other. The parts are those of the clean frame's soft mask, cut at its median, so they
are equally large.
"""

from __future__ import annotations

import torch

from bench.attacks.budget import Linf
from bench.attacks.differentiable.target import Target
from bench.attacks.rate import most_bits
from bench.attacks.threat import Ascent


@torch.no_grad()
def background_region(target: Target, images: torch.Tensor) -> torch.Tensor:
    """1 where the mask of the clean frame is above its median and 0 elsewhere, (N, 1, S, S)."""
    mask = target.mask(images)
    return (mask > mask.flatten(1).median(1).values.view(-1, 1, 1, 1)).float()


def background_only(target: Target, images: torch.Tensor, eps: float) -> Linf:
    """The ball on the half of the pixels that the defence smooths more."""
    return Linf(images, eps, background_region(target, images))


def object_only(target: Target, images: torch.Tensor, eps: float) -> Linf:
    """The ball on the other half."""
    return Linf(images, eps, 1 - background_region(target, images))


background = Ascent(most_bits, background_only)
"""Most bytes, by changes of the background only; knows no defence."""

object_ = Ascent(most_bits, object_only)
"""Most bytes, by changes of the object only; knows no defence."""
