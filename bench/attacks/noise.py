"""Random sign noise, +-eps in every value. Nobody attacks: it shows what a perturbation of that size does."""

from __future__ import annotations

import torch

from bench.attacks.ascent import STEPS, Setting
from bench.attacks.budget import Linf
from bench.attacks.differentiable.target import Target


def noise(
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
    """Random signs, +-eps in every value; knows nothing.

    Of the arguments of a ``Threat`` only images, eps and seed matter.
    """
    generator = torch.Generator().manual_seed(seed)
    signs = 2 * torch.randint(0, 2, images.shape, generator=generator) - 1
    return Linf(images, eps).frames(eps * signs)
