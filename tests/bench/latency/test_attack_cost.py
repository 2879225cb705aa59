"""Medians and shares of the attack table, against hand-made measurements."""

import numpy as np
import pytest

from bench.latency.attack_cost import attack_cost
from bench.latency.cold_start import Footprint
from bench.latency.frame_timing import Measurement, Result
from runtime.bundle import load


def _measurement(photo, variant, size, top1, defended=False, ms=10.0, guard=None):
    seconds = {"head": np.full(3, ms / 1e3), "transmit": np.full(3, size / 1e3)}
    if guard is not None:
        seconds["guard"] = np.full(3, guard / 1e3)
    return Measurement(photo, variant, size, size - 20.0, top1, defended, seconds)


@pytest.fixture
def result(tiny_bundles):
    measurements = [
        _measurement("a", "clean", 1000, 1),
        _measurement("a", "clean+guard", 1000, 1, guard=0.1),
        _measurement("a", "attacked", 1800, 2),
        _measurement("a", "attacked+guard", 900, 1, True, 18.0, guard=0.1),
        _measurement("b", "clean", 5000, 3),
        _measurement("b", "clean+guard", 4000, 3, True, guard=0.3),
    ]
    return Result(
        load(tiny_bundles["fp"]), "tiny", measurements, [], Footprint(1, 2, 3), {"a": 1, "b": 3}, None
    )


def test_only_photographs_with_an_attacked_version_count(result):
    cost = attack_cost(result)
    assert cost.photos == 1
    assert [line.bytes for line in cost.lines] == [1000, 1000, 1800, 900]
    assert [line.right for line in cost.lines] == [1, 1, 0, 1]
    assert [line.defended for line in cost.lines] == [0, 0, 0, 1]


def test_the_summary_says_what_is_paid_and_saved(result):
    summary = attack_cost(result).as_summary()
    assert summary["attack_bytes_percent"] == pytest.approx(80)
    assert summary["guarded_attack_bytes_percent"] == pytest.approx(-10)
    assert summary["guarded_attack_ms_p50"] == pytest.approx(8.1)
    assert summary["guard_clean_ms_p50"] == pytest.approx(0.2)  # over all clean photographs
    assert summary["guard_clean_percent_of_device"] == pytest.approx(100 * (0.1 / 10.1 + 0.3 / 10.3) / 2)


def test_without_attacked_photographs_there_is_nothing_to_say(result):
    result.measurements[:] = [m for m in result.measurements if not m.variant.startswith("attacked")]
    assert attack_cost(result) is None
