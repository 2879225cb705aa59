"""Integer tables of a learned density: CompressAI's entropy bottleneck, one table a channel."""

from __future__ import annotations

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck

from runtime.codec.tables import ESCAPE_FLOOR, MAX_TABLE_SIZE, Tables


def medians_of(density: EntropyBottleneck) -> torch.Tensor:
    """The median of each channel, float32 (C,): symbol = round(value - median)."""
    return density.quantiles[:, 0, 1].detach().clone()


@torch.no_grad()
def density_tables(density: EntropyBottleneck) -> Tables:
    """One table a channel, of symbols relative to the median, between the density's outer quantiles.

    A value outside is an escape; escapes get the mass that the density has there, 2**-18 at least.
    """
    low, median, high = density.quantiles[:, 0, :].double().unbind(1)
    below = torch.ceil(median - low).clamp(0, MAX_TABLE_SIZE // 4).int()
    above = torch.ceil(high - median).clamp(0, MAX_TABLE_SIZE // 4).int()
    reach = int(torch.maximum(below, above).max())
    symbols = torch.arange(-reach, reach + 1)
    values = density.quantiles[:, :, 1:2] + symbols
    likelihood, _, _ = density._likelihood(values)
    mass = likelihood[:, 0].double().clamp(min=0).numpy()
    histograms = [mass[c, reach - int(below[c]) : reach + int(above[c]) + 1] for c in range(len(mass))]
    escapes = [float(np.clip(1 - h.sum(), ESCAPE_FLOOR, 0.5)) for h in histograms]
    return Tables.from_counts(histograms, [-int(b) for b in below], escapes)
