"""What integer tables charge, with a gradient: towards symbols, and towards the tables that code them."""

from __future__ import annotations

import torch

from runtime.codec.tables import Tables


class TableBits:
    """Bits of symbols under coding tables: exactly the runtime's forwards, differentiable backwards.

    Backwards the cost is linear between the two integers around the unrounded value, so that a coefficient
    near zero is drawn away from it, and along the tables a central difference: the log-likelihood
    interpolated between the neighbours of the table in use. Only tables in an order, as those of the scales
    are, have such neighbours; an index without gradient asks for none.
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
            values: float32, any shape; what the encoder rounds.
            index: tables, whole numbers as float32, same shape.
            symbols: whole numbers that are sent instead of the rounded values; the gradient is the same.
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
        """What ``Tables.information_bits`` gives, for whole numbers as float32 and tables as int64."""
        return self._charge(symbols, table, smooth=False)

    def _charge(self, symbols: torch.Tensor, table: torch.Tensor, smooth: bool) -> torch.Tensor:
        """Table entry, and the Elias-gamma code of an escape; ``smooth``: without the steps of its length."""
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
        """Forwards what the runtime charges for the rounded latents."""
        return self._bits(y, self._index.expand_as(y)).flatten(1).sum(1)
