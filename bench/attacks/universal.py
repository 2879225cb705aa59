"""One perturbation for all frames: found on some, added to others.

The attacker knows the bundle and not the frames that it will meet. Moosavi-Dezfooli et al. (CVPR 2017) attack
accuracy so; here it is the rate, by plain stochastic ascent.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Setting
from bench.attacks.differentiable.straight_through import as_pixels
from bench.attacks.differentiable.target import Target
from bench.common.errors import AttackError

BATCH = 8
STEPS = 60


def universal(
    target: Target, images: torch.Tensor, eps: float, *, steps: int = STEPS, seed: int = 0
) -> torch.Tensor:
    """The perturbation, (1, 3, S, S) within eps, that adds most to the bits of ``images`` on average.

    Args:
        target: what is attacked; through its defence if it has one.
        images: training frames, float32 (N, 3, S, S) in [0, 1]; each step sees ``BATCH`` of them.
        eps: l_inf, in units of [0, 1].
        steps: gradients.
        seed: of the start and of the order of the frames.
    """
    generator = torch.Generator().manual_seed(seed)
    delta = eps * (2 * torch.rand(images[:1].shape, generator=generator) - 1)
    for k in range(steps):
        batch = images[torch.randperm(len(images), generator=generator)[:BATCH]]
        delta.requires_grad_(True)
        log_bits = target.bits(as_pixels(applied(batch, delta))).log().mean()
        (gradient,) = torch.autograd.grad(log_bits, delta)
        delta = (delta.detach() + eps * (1 - k / steps) * gradient.sign()).clamp(-eps, eps)
    return delta


def applied(images: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
    """Frames with the perturbation added, clipped to [0, 1]."""
    return (images + perturbation).clamp(0, 1)


def for_all(
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
    """One perturbation for all frames, found on others; knows no defence.

    As a ``Threat``: it learns from the target's ``others``. Raises AttackError where there are none.
    """
    if target.others is None or not len(target.others):
        raise AttackError("one perturbation for all frames is found on others: there are none")
    return applied(images, universal(target.undefended, target.others, eps, steps=steps, seed=seed))
