"""Feature maps <-> the P x P patches that the transform codes."""

from __future__ import annotations

import torch


def to_patches(features: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, H/P, W/P, C*P*P); the last axis runs over channel, row, column."""
    n, c, h, w = features.shape
    if h % patch or w % patch:
        raise ValueError(f"features of {h}x{w} do not divide into patches of {patch}x{patch}")
    blocks = features.reshape(n, c, h // patch, patch, w // patch, patch)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(n, h // patch, w // patch, c * patch * patch)


def from_patches(patches: torch.Tensor, patch: int) -> torch.Tensor:
    """The inverse of ``to_patches``."""
    n, rows, columns, d = patches.shape
    c = d // (patch * patch)
    blocks = patches.reshape(n, rows, columns, c, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(n, c, rows * patch, columns * patch)
