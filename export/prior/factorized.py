"""The factorized prior: one integer table a channel, from the symbols of the calibration images."""

from __future__ import annotations

import numpy as np
import torch

from runtime.codec.tables import Tables

PSEUDO_COUNT = 0.3
"""Added to each bin: a symbol that calibration never saw is rare, not impossible."""

MARGIN = 2
"""Bins beyond the outermost symbol seen; symbols further out are escapes."""


def channel_tables(symbols: torch.Tensor) -> Tables:
    """Tables fitted to whole-number symbols (N, C, H, W), of any dtype: table c codes channel c."""
    histograms, offsets = [], []
    flat = symbols.transpose(0, 1).flatten(1).long()
    for channel in flat:
        low, high = int(channel.min()) - MARGIN, int(channel.max()) + MARGIN
        counts = torch.bincount(channel - low, minlength=high - low + 1).numpy()
        histograms.append(counts + PSEUDO_COUNT)
        offsets.append(low)
    return Tables.from_counts(histograms, offsets, escape_mass=PSEUDO_COUNT / flat.shape[1])


def channel_bits(tables: Tables, symbols: torch.Tensor) -> float:
    """Mean information content of one frame of (N, C, H, W) symbols, in bits."""
    n, channels = symbols.shape[:2]
    index = np.broadcast_to(np.arange(channels, dtype=np.int32)[None, :, None, None], symbols.shape)
    values = symbols.int().numpy()
    return float(tables.information_bits(values, np.ascontiguousarray(index)).sum(dtype=np.float64)) / n
