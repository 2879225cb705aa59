"""Feature maps as patches: one vector for each P x P square of positions."""

from __future__ import annotations

import torch


def to_patches(features: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, H/P, W/P, C*P*P); the last axis runs over channel, row, column.

    Raises ValueError when ``patch`` does not divide H and W.
    """
    n, c, h, w = features.shape
    if h % patch or w % patch:
        raise ValueError(f"features of {h}x{w} do not divide into patches of {patch}x{patch}")
    blocks = features.reshape(n, c, h // patch, patch, w // patch, patch)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(n, h // patch, w // patch, c * patch * patch)
