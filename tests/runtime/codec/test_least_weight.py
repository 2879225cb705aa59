"""The least weight that fits, against a fine grid of weights."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.codec.rate_control import MIN_WEIGHT, RateControl
from runtime.codec.tables import gaussian_tables


@pytest.fixture(scope="module")
def control() -> RateControl:
    """Values of all sizes under tables of other widths, so that the bits fall in many small steps."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, 40, 900).astype(np.int32)
    return RateControl(rng.normal(0, 3, 900).astype(np.float32), index, gaussian_tables())


def test_it_is_the_least_of_a_fine_grid(control: RateControl) -> None:
    grid = np.geomspace(0.001, 100, 1500)  # steps of 0.8 %
    bits = np.array([control.bits(weight) for weight in grid])
    most, fewest = control.bits(0.0), control.bits(1e14)
    for share in (0.99, 0.9, 0.7, 0.5, 0.3):
        target = fewest + share * (most - fewest)
        weight = control.least_weight(target)
        least = grid[np.argmax(bits <= target)]
        assert weight is not None and grid[0] < least < grid[-1]
        assert 0.99 * least < weight < 1.011 * least
        assert control.bits(weight) <= target


def test_what_fits_needs_no_weight(control: RateControl) -> None:
    assert control.least_weight(control.bits(0.0)) == 0.0
    assert control.least_weight(control.bits(0.0) + 1) == 0.0
    weight = control.least_weight(control.bits(0.0) - 1)
    assert weight is not None and weight >= MIN_WEIGHT


def test_less_than_the_zeros_cost_cannot_be_had(control: RateControl) -> None:
    least = control.bits(1e14)
    assert least < 0.3 * control.bits(0.0)
    assert control.least_weight(least) is not None and control.least_weight(least - 1) is None
