"""Tables of the factorized prior: what they cost next to the symbols that calibration has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.prior.factorized import MARGIN, PSEUDO_COUNT, channel_bits, channel_tables


def test_a_neighbour_of_what_was_seen_costs_less_than_an_escape() -> None:
    """Two channels with other ranges, neither of them around 0; the neighbours on both sides."""
    generator = torch.Generator().manual_seed(0)
    ranges = [(-3, 4), (7, 12)]
    symbols = torch.stack([torch.randint(*of, (50, 4, 4), generator=generator) for of in ranges], 1)
    tables = channel_tables(symbols)
    for channel, (low, end) in enumerate(ranges):
        beyond = [low - 1, low - 2, low - 3, end, end + 1, end + 2]
        index = np.full(len(beyond), channel, np.int32)
        bits = tables.information_bits(np.array(beyond, np.int32), index)
        unseen, escapes = bits[[0, 1, 3, 4]], bits[[2, 5]]
        assert unseen.max() < escapes.min() - 1
        rare = -np.log2(PSEUDO_COUNT / (800 + PSEUDO_COUNT * (end - low + 2 * MARGIN)))
        assert unseen == pytest.approx(rare, abs=0.2)


def test_the_bits_of_a_frame_are_those_of_its_channels() -> None:
    """Channels with one, two and eight likely symbols: 0 + 1 + 3 bits at each of 3x5 places."""
    generator = torch.Generator().manual_seed(1)
    symbols = torch.stack([torch.randint(n, (400, 3, 5), generator=generator) for n in (1, 2, 8)], 1)
    assert channel_bits(channel_tables(symbols), symbols) == pytest.approx(15 * 4, rel=5e-3)
