"""Straight-through values: what a network computes forwards, with a gradient where it has none."""

from __future__ import annotations

import torch


def straight_through(value: torch.Tensor, gradient_of: torch.Tensor) -> torch.Tensor:
    """``value`` forwards, exactly; the gradient of ``gradient_of`` backwards. Of one shape.

    The sum is in this order so that what is added to ``value`` is zero and not a rounding error.
    """
    return value.detach() + (gradient_of - gradient_of.detach())


def rounded(x: torch.Tensor) -> torch.Tensor:
    """The nearest integers, halves to even, with the gradient of ``x``."""
    return straight_through(x.round(), x)


def as_pixels(images: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] on the grid of uint8, k / 255, as a camera sends them; the gradient of ``images``."""
    return straight_through((images * 255).round() / 255, images)
