"""Rate control against every candidate tried by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.codec.rate_control import MAX_WEIGHT, MIN_WEIGHT, PRECISION, RateControl, control_rate
from runtime.codec.tables import Tables, gaussian_tables

GAUSSIANS = gaussian_tables()
LOPSIDED = Tables.from_counts(
    [[1, 5, 90, 3], [7, 1], [1, 1, 1, 1, 1]], [-1, 3, -9], escape_mass=[0.01, 0.3, 0.2]
)
"""Tables whose likeliest symbol is not 0, and two that code 0 as an escape."""


def by_hand(value: np.float32, table: int, tables: Tables, weight: float) -> tuple[set[int], float]:
    """The candidates of one value, and what the cheapest costs, in double precision."""
    rounded = int(np.rint(value))
    candidates = {rounded, rounded - int(np.sign(rounded)), 0}
    return candidates, min(cost(value, symbol, table, tables, weight) for symbol in candidates)


def cost(value: np.float32, symbol: int, table: int, tables: Tables, weight: float) -> float:
    bits = tables.information_bits(np.array([symbol], np.int32), np.array([table], np.int32))
    return (float(value) - symbol) ** 2 + weight * float(bits[0])


@st.composite
def residuals(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int32], Tables]:
    """Values from ordinary to hostile, escapes of every table included."""
    tables = draw(st.sampled_from([GAUSSIANS, LOPSIDED]))
    value = st.one_of(st.floats(-3, 3, width=32), st.floats(-(2.0**17), 2.0**17, width=32))
    values = draw(st.lists(value, min_size=0, max_size=30))
    index = draw(st.lists(st.integers(0, len(tables) - 1), min_size=len(values), max_size=len(values)))
    return np.array(values, np.float32), np.array(index, np.int32), tables


WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-4, 10), st.floats(10, MAX_WEIGHT))


@given(residuals(), WEIGHTS)
@settings(max_examples=400)
def test_every_symbol_is_the_cheapest_of_its_candidates(
    residual: tuple[NDArray[np.float32], NDArray[np.int32], Tables], weight: float
) -> None:
    values, index, tables = residual
    symbols = control_rate(values, index, tables, weight)
    assert symbols.dtype == np.int32 and symbols.shape == values.shape
    for value, table, symbol in zip(values, index.tolist(), symbols.tolist(), strict=True):
        candidates, least = by_hand(value, table, tables, weight)
        assert symbol in candidates
        assert cost(value, symbol, table, tables, weight) <= least * (1 + 1e-6)  # it computes in float32


@given(residuals(), WEIGHTS)
@settings(max_examples=300)
def test_one_weight_and_any_weight_choose_alike(
    residual: tuple[NDArray[np.float32], NDArray[np.int32], Tables], weight: float
) -> None:
    values, index, tables = residual
    once = control_rate(values, index, tables, weight)
    np.testing.assert_array_equal(once, RateControl(values, index, tables).symbols(weight))


@given(residuals())
@settings(max_examples=100)
def test_without_weight_it_rounds(residual: tuple[NDArray[np.float32], NDArray[np.int32], Tables]) -> None:
    values, index, tables = residual
    assert np.array_equal(control_rate(values, index, tables, 0.0), np.rint(values).astype(np.int32))


@given(residuals(), st.lists(WEIGHTS, min_size=2, max_size=6))
@settings(max_examples=200)
def test_bits_are_those_of_the_symbols_and_fall_with_the_weight(
    residual: tuple[NDArray[np.float32], NDArray[np.int32], Tables], weights: list[float]
) -> None:
    values, index, tables = residual
    control = RateControl(values, index, tables)
    bits = [control.bits(weight) for weight in sorted(weights)]
    for weight, expected in zip(sorted(weights), bits, strict=True):
        information = tables.information_bits(control.symbols(weight), index).sum(dtype=np.float64)
        assert expected == pytest.approx(float(information), abs=1e-3)
    assert all(b <= a + 1e-3 for a, b in pairwise(bits))


@given(residuals(), st.floats(0, 1.2))
@settings(max_examples=300)
def test_the_least_weight_fits_and_one_below_it_does_not(
    residual: tuple[NDArray[np.float32], NDArray[np.int32], Tables], share: float
) -> None:
    control = RateControl(*residual)
    target = share * control.bits(0.0)
    weight = control.least_weight(target)
    if weight is None:
        assert control.bits(MAX_WEIGHT) > target
    else:
        assert control.bits(weight) <= target
        assert weight <= MIN_WEIGHT * PRECISION or control.bits(weight / PRECISION**2) > target


def test_attacks_lose_more_than_calm_latents() -> None:
    """Noise where the prior expects none is cheap to give up; an outlier that carries much stays."""
    index = np.zeros(1000, np.int32)  # the narrowest table, sigma 0.11: anything but 0 is a surprise
    noise = np.random.default_rng(0).choice([-0.6, 0.6], 1000).astype(np.float32)
    noise[7] = 40.2
    symbols = control_rate(noise, index, GAUSSIANS, 0.1)
    assert symbols[7] == 40 and np.count_nonzero(symbols) == 1
    assert np.count_nonzero(control_rate(noise, index, GAUSSIANS, 0.0)) == 1000


def test_what_it_is_given_stays_as_it_was() -> None:
    values, index = np.float32([0.4, -2.6, 900.0]), np.int32([1, 2, 3])
    kept = values.copy(), index.copy()
    control_rate(values, index, GAUSSIANS, 5.0)
    assert np.array_equal(values, kept[0]) and np.array_equal(index, kept[1])
