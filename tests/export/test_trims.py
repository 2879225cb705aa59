"""Trims: the fewest and dearest frames that keep a corruption to what it may add."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.trims import ALLOWED, Cell, dearest, level, with_trims

KEPT = 0.8
"""Of a frame's bits, what coarser steps leave."""


def cell(excess: float, count: int = 400, seed: int = 0) -> Cell:
    """Frames made dearer by ``excess``; their two channels tell bits and severity."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(1000, 120, count)
    bits = (1 + excess) * clean
    severity = rng.normal(500 * excess, 5, count)
    looks = np.stack([bits - severity, severity], axis=1).astype(np.float32)
    return Cell(looks, bits, KEPT * bits, float(clean.sum()))


def everything(one: Cell) -> NDArray[np.bool_]:
    return np.ones(len(one.bits), bool)


def test_an_excess_counts_the_frames_that_are_trimmed() -> None:
    one = Cell(np.zeros((2, 1), np.float32), np.array([110.0, 220.0]), np.array([88.0, 176.0]), 300.0)
    assert one.excess(np.array([False, False])) == pytest.approx(0.1)
    assert one.excess(np.array([True, False])) == pytest.approx(308 / 300 - 1)
    assert one.excess(np.array([True, True])) == pytest.approx(-0.12)


@given(excess=st.floats(-0.1, 0.6), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_level_trims_the_fewest_of_the_frames_that_are_found(
    excess: float, share: float, seed: int
) -> None:
    one = cell(excess, 60, seed)
    found = np.random.default_rng(seed).uniform(size=60) < share
    bits = level(one, found)
    trimmed = found & (one.bits >= bits)
    if one.excess(trimmed) > ALLOWED:
        assert (trimmed == found).all(), "all that are found do not do"
    elif trimmed.any():
        cheapest = np.flatnonzero(trimmed)[np.argmin(one.bits[trimmed])]
        trimmed[cheapest] = False
        assert one.excess(trimmed) > ALLOWED, "one less does not do"
    else:
        assert np.isinf(bits) and one.excess(trimmed) <= ALLOWED


def test_a_kind_keeps_to_what_is_allowed_by_its_dearest_frames() -> None:
    cells = [cell(excess, seed=n) for n, excess in enumerate((0.0, 0.03, 0.08, 0.15))]
    weights, bias = dearest(cells, [everything(one) for one in cells])
    assert weights.dtype == np.float32
    for one, excess in zip(cells, (0.0, 0.03, ALLOWED, ALLOWED), strict=True):
        trim = one.features @ weights + bias > 0
        assert one.excess(trim) == pytest.approx(excess, abs=0.015)
        if trim.any() and not trim.all():
            assert one.bits[trim].mean() > one.bits[~trim].mean()


def test_nothing_is_trimmed_where_nothing_is_too_dear_or_found() -> None:
    cells = [cell(excess) for excess in (-0.05, 0.0, 0.03)]
    weights, bias = dearest(cells, [everything(one) for one in cells])
    assert not any((one.features @ weights + bias > 0).any() for one in cells)
    dear = cell(0.2)
    weights, bias = dearest([dear], [~everything(dear)])
    assert not (dear.features @ weights + bias > 0).any()


def test_each_kind_has_a_discriminant_and_a_row_that_tells_its_dearest() -> None:
    kinds = [[cell(0.1)], [cell(0.0, seed=1)]]
    weights, bias = np.zeros((3, 2), np.float32), np.ones(3, np.float32)
    arrays = with_trims(weights, bias, kinds)
    assert {name: array.dtype for name, array in arrays.items()} == {
        "weights": np.float32,
        "bias": np.float32,
    }
    assert arrays["weights"].shape == (5, 2) and arrays["bias"].shape == (5,)
    assert np.array_equal(arrays["weights"][:3], weights) and np.array_equal(arrays["bias"][:3], bias)
    for (one,), weight, threshold in zip(kinds, arrays["weights"][3:], arrays["bias"][3:], strict=True):
        row, least = dearest([one], [everything(one)])
        assert np.array_equal(weight, row) and threshold == np.float32(least)
