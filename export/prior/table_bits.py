"""The bits that integer tables charge, differentiable in the symbols and in the choice of table."""

from __future__ import annotations

import torch

from runtime.codec.tables import Tables


class TableBits:
    """Bits of symbols under coding tables: forwards exactly the runtime's, backwards with a gradient.

    In a symbol the gradient is the slope between the two integers around the unrounded value. So an attack
    on the rate moves even a coefficient near zero. In a table index it is the central
    difference between the neighbouring tables, which needs ordered tables, such as those of the scales. An
    index that asks for no gradient may number tables in any order.
    """

    def __init__(self, tables: Tables):
        self._bits = torch.from_numpy(tables.bits.copy())
        self._start = torch.from_numpy(tables.start.astype("int64"))
        self._offset = torch.from_numpy(tables.offset.astype("float32"))
        self._last = torch.from_numpy((tables.size - 1).astype("float32"))

    def __call__(
        self, values: torch.Tensor, index: torch.Tensor, symbols: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Bits of each symbol, float32 like ``values``.

        Args:
            values: float32, any shape, before the encoder rounds them.
            index: of the tables, whole numbers as float32, same shape.
            symbols: whole numbers sent instead of the rounded values; the gradient stays the same.
        """
        sent = values.detach().round() if symbols is None else symbols.detach()
        table, below = index.detach().long(), values.detach().floor()
        slope = self._charge(below + 1, table, smooth=True) - self._charge(below, table, smooth=True)
        bits = self.of_symbols(sent, table) + slope * (values - values.detach())
        if index.requires_grad:
            above = self._charge(sent, (table + 1).clamp(max=len(self._start) - 1), smooth=True)
            under = self._charge(sent, (table - 1).clamp(min=0), smooth=True)
            bits = bits + 0.5 * (above - under) * (index - index.detach())
        return bits

    def of_symbols(self, symbols: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """``Tables.information_bits`` in torch, for whole numbers as float32 and tables as int64."""
        return self._charge(symbols, table, smooth=False)

    def _charge(self, symbols: torch.Tensor, table: torch.Tensor, smooth: bool) -> torch.Tensor:
        """The table entry plus an escape's Elias-gamma code; ``smooth``: its length without steps."""
        position, last = symbols - self._offset[table], self._last[table]
        beyond = torch.maximum(-position, position - last + 1)
        outside = beyond >= 1
        bits = self._bits[self._start[table] + torch.where(outside, last, position).long()]
        distance = beyond.clamp(min=1)
        escape = 2 + 2 * distance.log2() if smooth else 2.0 * distance.frexp().exponent
        return bits + torch.where(outside, escape, torch.zeros_like(bits))


class ChannelRate:
    """Bits of latents y (N, C, H, W) under one table a channel, differentiable: -> (N,)."""

    def __init__(self, tables: Tables):
        self._bits = TableBits(tables)
        self._index = torch.arange(len(tables), dtype=torch.float32).view(1, -1, 1, 1)

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """Bits of each latent, forwards those of the rounded symbols."""
        return self._bits(y, self._index.expand_as(y)).flatten(1).sum(1)
