"""The compiled loops against NumPy, bit by bit, on values that are easily rounded wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.codec.coarseness import COARSEST, factor
from runtime.codec.limits import LATENT_LIMIT, MEAN_STEPS
from runtime.prior import rounding

TABLES = 64
Y = st.one_of(
    st.integers(-200, 200).map(lambda n: n / 2),  # ties: half to even
    st.floats(-10, 10, width=32),
    st.floats(width=32, allow_nan=False),
)


@st.composite
def frames(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """y, float32[n], and what h_s says, float32[2 n]."""
    y = draw(st.lists(Y, max_size=40))
    index = draw(st.lists(st.integers(-3000, 3000), min_size=len(y), max_size=len(y)))
    mean = draw(st.lists(st.integers(-(2**20), 2**20), min_size=len(y), max_size=len(y)))
    return np.array(y, np.float32), np.array(index + mean, np.float32)


@given(frames(), st.integers(0, COARSEST).map(factor))
@settings(max_examples=300)
def test_loops_equal_numpy(frame: tuple[NDArray[np.float32], NDArray[np.float32]], steps: np.float32) -> None:
    y, parameters = frame
    index, symbols = (np.empty(y.size, np.int32) for _ in range(2))
    values, y_hat = (np.empty(y.size, np.float32) for _ in range(2))
    rounding.tables_of(parameters, TABLES, index)
    assert rounding.rounded(y, parameters, values, symbols)
    rounding.restored(symbols, steps, parameters, y_hat)
    mean = parameters[y.size :] / np.float32(MEAN_STEPS)
    expected = np.clip(y, np.float32(-LATENT_LIMIT), np.float32(LATENT_LIMIT)) - mean
    assert np.array_equal(index, np.clip(parameters[: y.size].astype(np.int32), 0, TABLES - 1))
    assert np.array_equal(values.view(np.int32), expected.view(np.int32))
    assert np.array_equal(symbols, np.rint(expected).astype(np.int32))
    assert np.array_equal(y_hat.view(np.int32), (symbols.astype(np.float32) * steps + mean).view(np.int32))


@pytest.mark.parametrize("place", [0, 3, 16, 39])
def test_what_is_not_a_number_is_found_anywhere(place: int) -> None:
    y, parameters = np.ones(40, np.float32), np.zeros(80, np.float32)
    y[place] = np.nan
    assert not rounding.rounded(y, parameters, np.empty(40, np.float32), np.empty(40, np.int32))
