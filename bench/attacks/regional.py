"""PGD-E on a part of the frame: the background only, or the object only.

The defence smooths the background and leaves the object alone, so it should remove the one and be helpless
against the other. The parts are those of the clean frame's own soft mask, cut at its median: equally large,
so that the two compare.
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
    """The pixels that the defence smooths more than half of them."""
    return Linf(images, eps, background_region(target, images))


def object_only(target: Target, images: torch.Tensor, eps: float) -> Linf:
    """The others."""
    return Linf(images, eps, 1 - background_region(target, images))


background = Ascent(most_bits, background_only)
object_ = Ascent(most_bits, object_only)
