"""What the last rungs of the ladder send, in which order, by hand: two ways to send one y."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load
from runtime.codec.coarseness import COARSEST, factor
from runtime.codec.packet import MIN_PACKET, Flags
from runtime.codec.rate_control import control_rate
from runtime.codec.stream import SEAL_BITS
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.alarm import Suspicion
from runtime.guard.budget import Attempt
from runtime.guard.defence import Defence
from runtime.head import Head
from tests.tiny_bundle import tiny_images

ONE = EngineOptions(threads=1)
WEIGHT = 0.7


@pytest.fixture(scope="module")
def head(tiny_bundles: dict[str, Path]) -> Head:
    return Head(load(tiny_bundles["mshp"]), ONE)


@pytest.fixture(scope="module")
def ways(head: Head) -> list[Attempt]:
    """A loud y with a z that costs bits, and with a z of zeros; the first is rate-controlled."""
    rng = np.random.default_rng(3)
    y, z = head.engine.run(head.bundle.manifest.preprocess(tiny_images(1)[0]))
    y, z = y + rng.normal(0, 4, y.shape).astype(np.float32), rng.choice(np.float32([-2, 2, 4]), z.shape)
    return [
        Attempt("fitted", head.latent_of([y, z]), Flags.DENOISED, WEIGHT),
        Attempt("without_z", head.latent_of([y, np.zeros_like(z)])),
    ]


def distance(way: Attempt, sent: Attempt) -> float:
    """Squared error of y in the bundle's steps, from the symbols that are sent."""
    values, stream = way.latent.streams[-1].values, sent.latent.streams[-1]
    assert values is not None
    return float(np.square(values - stream.symbols * factor(stream.coarseness)).sum(dtype=np.float64))


def alone(head: Head, way: Attempt, budget: int, count: int) -> list[Attempt]:
    return list(islice(head.ladder.fitter.fitting([way], 0, budget), count))


def test_what_is_given_up_is_told_by_steps_or_by_flags(head: Head, ways: list[Attempt]) -> None:
    assert not any(way.given_up for way in ways)
    (rounded,) = alone(head, ways[1], 10_000, 1)
    controlled, coarser = (
        head.ladder.fitter.coded(ways[1], 0, WEIGHT),
        head.ladder.fitter.coded(ways[1], 1, 0),
    )
    assert rounded.flags == coarser.flags == Flags.NONE and rounded.latent.coarseness == 0
    assert not rounded.given_up and controlled.given_up and coarser.given_up


def test_a_fit_counts_the_bits_of_z(head: Head, ways: list[Attempt]) -> None:
    """y and z together fit from the first fit on, and z is a part that matters."""
    way = ways[0]
    z_bits = float(way.latent.streams[0].total_bits()[0])
    assert z_bits > 30
    for budget in range(head.least + 20, head.pack(way.latent).packet.size, 5):
        (fit,) = alone(head, way, budget, 1)
        assert fit.latent.expected_bits <= 8 * (budget - MIN_PACKET) - SEAL_BITS + 1e-3


def test_the_first_fit_fits_at_its_lambda_and_one_step_finer_does_not(
    head: Head, ways: list[Attempt]
) -> None:
    """Step by step: bits of z, and of y rate-controlled at the attempt's own lambda."""
    for way in ways:
        *side, y = way.latent.streams
        costs = []
        for coarseness in range(COARSEST + 1):
            stream = head.prior.coarser(y, coarseness)
            assert stream.values is not None
            symbols = control_rate(stream.values, stream.index, stream.tables, way.rate_weight)
            costs.append(float(stream.tables.information_bits(symbols, stream.index).sum()))
        z_bits = sum(float(stream.information_bits().sum()) for stream in side)
        for budget in range(head.least + 26, head.pack(way.latent).packet.size, 7):
            room = 8 * (budget - MIN_PACKET) - SEAL_BITS - z_bits
            (fit,) = alone(head, way, budget, 1)
            coarseness = fit.latent.coarseness
            assert costs[coarseness] <= room + 1e-3
            assert coarseness == 0 or costs[coarseness - 1] > room - 1e-3


def test_every_fit_keeps_the_lambda_of_its_attempt(head: Head, ways: list[Attempt]) -> None:
    """In all steps, the coarsest included, at a budget that these would keep at a smaller lambda."""
    way = ways[0]
    fits = alone(head, way, 10_000, COARSEST + 6)
    assert [fit.latent.coarseness for fit in fits[: COARSEST + 1]] == list(range(COARSEST + 1))
    assert [fit.latent.coarseness for fit in fits[COARSEST + 1 :]] == [COARSEST] * 5
    for fit in fits:
        stream = head.prior.coarser(way.latent.streams[-1], fit.latent.coarseness)
        assert stream.values is not None
        assert fit.rate_weight == WEIGHT and fit.flags == Flags.DENOISED | Flags.RATE_CONTROLLED
        expected = control_rate(stream.values, stream.index, stream.tables, WEIGHT)
        np.testing.assert_array_equal(fit.latent.streams[-1].symbols, expected)
        assert fit.rung == "fitted" and fit.latent.streams[0] is way.latent.streams[0]


def test_a_larger_lambda_than_the_attempts_comes_where_it_has_to(head: Head, ways: list[Attempt]) -> None:
    fits = alone(head, ways[0], head.least + 16, 60)
    weights = [fit.rate_weight for fit in fits if fit.latent.coarseness == COARSEST]
    assert weights == sorted(weights) and weights[-1] > WEIGHT
    assert min(weights) >= WEIGHT


@pytest.mark.parametrize("more", [18, 30, 45])
def test_ways_take_turns_by_their_distance_to_y(head: Head, ways: list[Attempt], more: int) -> None:
    """A merge by hand of both ways, in steps of the bundle: each next fit is the nearer of the two."""
    budget, count = head.least + more, 40
    queues = [alone(head, way, budget, count) for way in ways]
    errors = [[distance(way, fit) for fit in queue] for way, queue in zip(ways, queues, strict=True)]
    expected: list[tuple[str, int, float]] = []
    places = [0, 0]
    while all(place < len(queue) for place, queue in zip(places, queues, strict=True)):
        chosen = 0 if errors[0][places[0]] <= errors[1][places[1]] else 1
        fit = queues[chosen][places[chosen]]
        expected.append((fit.rung, fit.latent.coarseness, fit.rate_weight))
        places[chosen] += 1
    assert {rung for rung, _, _ in expected} == {"fitted", "without_z"}
    merged: Iterator[Attempt] = head.ladder.fitter.fitting(ways, 0, budget)
    found = [(fit.rung, fit.latent.coarseness, fit.rate_weight) for fit in islice(merged, len(expected))]
    assert found == expected


def test_a_defended_frame_that_must_be_fitted_keeps_the_rate_control(tiny_bundles: dict[str, Path]) -> None:
    """The lambda and the steps of the defence are the least that a fitted frame of it has."""
    bundle, noise = load(tiny_bundles["fp"]), np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    defence = Defence(coarseness=3, rate_control=WEIGHT, iterations=2)
    size = Head(bundle, ONE, guard=Guard("always", defence)).encode(noise).size
    tight = Head(bundle, ONE, guard=Guard("auto", defence, size - 6))
    tight.alarm = lambda latent: Suspicion(1.0)
    packet = tight.encode(noise)
    assert tight.report is not None and packet.size <= size - 6
    decision = tight.report.decision
    assert decision.rung == "fitted" and decision.defended and decision.rate_weight == WEIGHT
    assert COARSEST > decision.coarseness > 3 and packet.flags == Flags.DENOISED | Flags.RATE_CONTROLLED
    assert tight.counters.rate_controlled == 1


def test_where_even_the_coarsest_steps_do_not_fit_symbols_are_given_up(
    head: Head, ways: list[Attempt]
) -> None:
    """Every attempt fits its budget by expectation, the first with the coarsest steps as well."""
    fitter = head.ladder.fitter
    coarsest = fitter.coded(ways[1], COARSEST, 0.0).latent.expected_bits
    budget = MIN_PACKET + int((coarsest + SEAL_BITS) / 8) - 1
    (first,) = alone(head, ways[1], budget, 1)
    assert first.latent.coarseness == COARSEST and first.rate_weight > 0
    assert first.latent.expected_bits + SEAL_BITS <= 8 * (budget - MIN_PACKET)
