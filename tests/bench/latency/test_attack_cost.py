"""Medians, shares and sentences of what an attack and the guard cost, against hand-made timings."""

import numpy as np
import pytest

from bench.latency.attack_cost import attack_cost
from bench.latency.cold_start import Footprint
from bench.latency.frame_timing import BundleTimings, FrameTiming
from bench.latency.guard_cost import guard_cost
from bench.latency.sustained import SustainedTime
from bench.latency.verdict import compared
from runtime.bundle import load
from runtime.guard.decision import HOLD


def _timing(photo, variant, size, top1, defended=False, ms=10.0, guard=None):
    seconds = {"head": np.full(3, ms / 1e3), "transmit": np.full(3, size / 1e3)}
    if guard is not None:
        seconds["guard"] = np.full(3, guard / 1e3)
    return FrameTiming(photo, variant, size, size - 20.0, top1, defended, seconds)


@pytest.fixture
def result(tiny_bundles):
    measurements = [
        _timing("a", "clean", 1000, 1),
        _timing("a", "clean+guard", 1000, 1, guard=0.1),
        _timing("a", "attacked", 1800, 2),
        _timing("a", "attacked+guard", 900, 1, True, 18.0, guard=0.1),
        _timing("b", "clean", 5000, 3),
        _timing("b", "clean+guard", 4000, 3, True, guard=0.3),
    ]
    return BundleTimings(
        load(tiny_bundles["fp"]), "tiny", measurements, [], Footprint(1, 2, 3), {"a": 1, "b": 3}, None,
        SustainedTime(10.0, 20.0, 11.0, 900),
    )  # fmt: skip


def test_only_photographs_with_an_attacked_version_count(result):
    cost = attack_cost(result)
    assert cost.photos == 1
    assert [line.bytes for line in cost.inputs] == [1000, 1000, 1800, 900]
    assert [line.right for line in cost.inputs] == [1, 1, 0, 1]
    assert [line.defended for line in cost.inputs] == [0, 0, 0, 1]


def test_the_summary_says_what_is_paid_and_saved(result):
    summary = attack_cost(result).as_summary()
    assert summary["attack_bytes_percent"] == pytest.approx(80)
    assert summary["guarded_attack_bytes_percent"] == pytest.approx(-10)
    assert summary["guarded_attack_ms_p50"] == pytest.approx(8.1)


def test_the_guard_is_timed_on_every_clean_photograph(result):
    summary = guard_cost(result).as_summary()
    assert summary["guard_false_alarms"] == 0.5
    assert summary["guard_clean_ms_p50"] == pytest.approx(0.2)
    assert summary["guard_clean_percent_of_device"] == pytest.approx(100 * (0.1 / 10.1 + 0.3 / 10.3) / 2)


def test_a_sustained_attack_costs_one_look_in_a_hold_and_a_frame(result):
    summary = result.sustained.as_summary()
    assert summary["sustained_time_ratio"] == pytest.approx((2.0 + HOLD * 1.1) / (HOLD + 1))
    assert summary["worst_time_ratio"] == 2.0 and summary["sustained_bytes_max"] == 900


def test_without_attacked_photographs_there_is_nothing_to_say(result):
    result.frames[:] = [m for m in result.frames if not m.variant.startswith("attacked")]
    assert attack_cost(result) is None


def test_sizes_are_compared_in_words():
    assert compared(1930, 1000) == "93 % larger"
    assert compared(400, 1000) == "60 % smaller"
