"""What factorized tables cost at latents that are no integers: exact at each integer, linear between them."""

from __future__ import annotations

import torch

from runtime.tables import Tables

ESCAPE_SLOPE = 2.0  # bits a unit beyond a table: about what the Elias-gamma code of an escape adds


class TableRate:
    """Bits of latents y (N, C, H, W) under one table a channel, differentiable everywhere: -> (N,)."""

    def __init__(self, tables: Tables):
        shape = (1, -1, 1, 1)
        self._bits = torch.from_numpy(tables.bits.copy())
        self._start = torch.from_numpy(tables.start.astype("int64")).view(shape)
        self._offset = torch.from_numpy(tables.offset.astype("float32")).view(shape)
        self._last = torch.from_numpy((tables.size - 2).astype("float32")).view(shape)

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """Bits of each latent, before it is rounded."""
        position = y - self._offset
        inside = torch.minimum(position.clamp(min=0), self._last)
        below = torch.minimum(inside.detach().floor(), (self._last - 1).clamp(min=0))
        share = inside - below
        entry = self._start + below.long()
        bits = (1 - share) * self._bits[entry] + share * self._bits[entry + 1]
        return (bits + ESCAPE_SLOPE * (position - inside).abs()).flatten(1).sum(1)
