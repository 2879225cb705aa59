"""The defence's mask and its three denoisers in torch, unrolled, so that an attack sees through them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from bench.attacks.differentiable.straight_through import straight_through
from native_denoise.mask import MIN_SPAN
from native_denoise.modes import Settings, schedule
from runtime.guard.defence import Defence


def soft_mask(likelihood: torch.Tensor, size: int, defence: Defence) -> torch.Tensor:
    """``native_denoise.soft_mask`` of maps (N, h, w) in (0, 1] -> (N, 1, size, size).

    A threshold has no gradient: backwards it is the identity (BPDA, Athalye et al., 2018).
    """
    small = likelihood[:, None]
    if defence.stretch:
        low, high = small.amin((2, 3), keepdim=True), small.amax((2, 3), keepdim=True)
        spans = high - low
        small = torch.where(spans >= MIN_SPAN, (small - low) / spans.clamp(min=MIN_SPAN), small)
    if defence.power != 1.0:
        small = small.clamp(min=1e-6) ** defence.power
    if defence.threshold is not None:
        small = straight_through((small >= defence.threshold).float(), small)
    return functional.interpolate(small, (size, size), mode="bilinear", align_corners=False)


def denoise(images: torch.Tensor, mask: torch.Tensor, settings: Settings) -> torch.Tensor:
    """``native_denoise.denoise_planar``: (N, 3, S, S) in [0, 1], mask (N, 1, S, S); clipped to [0, 1].

    All steps are taken, also where ``rof`` has a tolerance: past it they hardly move.
    """
    return SOLVERS[settings.mode](images, mask, settings).clamp(0, 1)


def descent(f: torch.Tensor, mask: torch.Tensor, settings: Settings) -> torch.Tensor:
    """``native_denoise.reference.descent``."""
    x = f
    for _ in range(settings.iterations):
        along_x, along_y = gradient(x)
        scale = settings.weight * (along_x**2 + along_y**2 + settings.epsilon**2).rsqrt()
        slope = (x - f) - divergence(scale * along_x, scale * along_y)
        x = x - settings.step * mask * slope
    return x


def released(f: torch.Tensor, mask: torch.Tensor, settings: Settings) -> torch.Tensor:
    """``native_denoise.reference.released``: linear."""
    u = f
    for _ in range(settings.iterations):
        along_x, along_y = gradient(u)
        u = u + settings.step * settings.weight * mask * (along_x + along_y)
    return u


def rof(f: torch.Tensor, mask: torch.Tensor, settings: Settings) -> torch.Tensor:
    """``native_denoise.reference.rof`` without its gap."""
    x, ahead, radius = f, f, settings.weight * mask
    q_x, q_y = torch.zeros_like(f), torch.zeros_like(f)
    for tau, sigma, theta in schedule(settings.iterations).tolist():
        along_x, along_y = gradient(ahead)
        q_x, q_y = q_x + sigma * along_x, q_y + sigma * along_y
        length = (q_x**2 + q_y**2 + 1e-20).sqrt()
        scale = (radius / length).clamp(max=1)
        q_x, q_y = scale * q_x, scale * q_y
        before = x
        x = (x + tau * (f + divergence(q_x, q_y))) / (1 + tau)
        ahead = x + theta * (x - before)
    return x


SOLVERS: dict[str, Callable[[torch.Tensor, torch.Tensor, Settings], torch.Tensor]] = {
    "descent": descent,
    "released": released,
    "rof": rof,
}


def gradient(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward differences along x and y, zero past the last column and row."""
    return functional.pad(u.diff(dim=-1), (0, 1)), functional.pad(u.diff(dim=-2), (0, 0, 0, 1))


def divergence(along_x: torch.Tensor, along_y: torch.Tensor) -> torch.Tensor:
    """Minus the adjoint of ``gradient``."""
    x = functional.pad(along_x[..., :, :-1], (1, 1)).diff(dim=-1)
    y = functional.pad(along_y[..., :-1, :], (0, 0, 1, 1)).diff(dim=-2)
    return x + y
