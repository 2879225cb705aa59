"""What a defence may be told: exactly to its bounds."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.codec.coarseness import COARSEST
from runtime.codec.rate_control import MAX_WEIGHT
from runtime.errors import DefenceError
from runtime.guard.defence import Defence

WITHIN: list[dict[str, Any]] = [
    {"coarseness": 0},
    {"coarseness": COARSEST},
    {"rate_control": 0},
    {"rate_control": MAX_WEIGHT},
    {"threshold": 0},
    {"threshold": 1},
]
BEYOND: list[dict[str, Any]] = [
    {"coarseness": -1},
    {"coarseness": COARSEST + 1},
    {"coarseness": 4.0},
    {"rate_control": -1e-9},
    {"rate_control": -1},
    {"rate_control": 1.001 * MAX_WEIGHT},
    {"rate_control": float("nan")},
    {"threshold": -0.01},
    {"threshold": 1.01},
]


@pytest.mark.parametrize("given", WITHIN, ids=str)
def test_bounds_belong_to_the_range(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    assert getattr(Defence(**given), name) == value


@pytest.mark.parametrize("given", BEYOND, ids=str)
def test_what_is_beyond_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(DefenceError, match=next(iter(given))):
        Defence(**given)
