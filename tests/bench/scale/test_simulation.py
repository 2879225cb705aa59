"""The simulation of many replicas, against the mathematics of queues, and what it must keep."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from bench.scale.simulation import LostNode, ReplicaFleet, capacity, carried, simulate

SECONDS = 0.01
FRAMES = 100_000


def constant(_: Random, frames: int) -> float:
    return SECONDS


def exponential(dice: Random, frames: int) -> float:
    return dice.expovariate(1 / SECONDS)


def erlang_c(servers: int, load: float) -> float:
    """The probability that a frame waits in an M/M/c queue; load: of all servers, in Erlangs."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("servers", "busy"), [(1, 0.5), (1, 0.8), (4, 0.8), (20, 0.9)])
def test_workers_of_one_replica_are_an_mmc_queue(servers: int, busy: float) -> None:
    rate = busy * servers / SECONDS
    found = simulate(ReplicaFleet(1, exponential, workers=servers), rate, FRAMES)
    waiting = erlang_c(servers, busy * servers) * SECONDS / (servers * (1 - busy))
    assert found.seconds.mean() == pytest.approx(waiting + SECONDS, rel=0.05)
    assert found.errors == found.repeats == 0 and found.together == 1.0


def test_the_p99_of_an_mm1_queue() -> None:
    found = simulate(ReplicaFleet(1, exponential), 0.6 / SECONDS, FRAMES)
    assert found.percentile(99) == pytest.approx(math.log(100) * SECONDS / 0.4, rel=0.06)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.85])
def test_a_constant_service_time_makes_md1_queues(busy: float) -> None:
    """One replica, and a hundred to which frames are dealt at random: devices enough keep no order."""
    waiting = busy * SECONDS / (2 * (1 - busy))
    alone = simulate(ReplicaFleet(1, constant), busy / SECONDS, FRAMES)
    assert alone.seconds.mean() == pytest.approx(waiting + SECONDS, rel=0.03)
    many = ReplicaFleet(100, constant, routing="kept", devices=2000)
    dealt = simulate(many, 100 * busy / SECONDS, 4 * FRAMES)
    assert dealt.seconds[FRAMES:].mean() == pytest.approx(waiting + SECONDS, rel=0.12)


def test_the_shorter_of_two_queues_is_the_mean_field_of_two_choices() -> None:
    """Mitzenmacher: of many M/M/1 queues the share 'at least i frames' tends to busy ** (2 ** i - 1)."""
    busy, replicas = 0.9, 500
    found = simulate(ReplicaFleet(replicas, exponential), busy * replicas / SECONDS, 2 * FRAMES)
    frames_a_queue = sum(busy ** (2**i - 1) for i in range(1, 12))
    assert found.seconds[FRAMES:].mean() == pytest.approx(frames_a_queue * SECONDS / busy, rel=0.04)


def test_batches_raise_the_capacity_and_wait_for_nobody() -> None:
    batched = ReplicaFleet(2, constant, batch=4)
    assert capacity(batched) == pytest.approx(8 / SECONDS)
    assert simulate(batched, 1.0, 500).together == 1.0
    full = simulate(batched, 7.8 / SECONDS, 50_000)
    assert full.together > 3.5 and full.percentile(50) < 1.0
    assert simulate(ReplicaFleet(2, constant), 7.8 / SECONDS, 5000).percentile(50) > 5.0


def test_a_full_queue_refuses_and_another_replica_takes_the_frame() -> None:
    small = ReplicaFleet(10, constant, queue=2, routing="kept", devices=3)
    found = simulate(small, 9.0 / SECONDS, 50_000)
    assert found.repeats > 0
    assert found.seconds[np.isfinite(found.seconds)].max() <= 3 * SECONDS + 1e-9
    assert found.errors == np.isinf(found.seconds).sum()


@pytest.mark.parametrize("routing", ["kept", "shorter"])
def test_a_lost_node_costs_time_and_no_frame(routing: str) -> None:
    fleet = ReplicaFleet(10, constant, routing=routing)  # type: ignore[arg-type]
    lost = LostNode(at=5.0, replicas=2, notice=0.5)
    found = simulate(fleet, 4.0 / SECONDS, 4000, lost=lost)
    assert found.errors == 0 and np.isfinite(found.seconds).all()
    late = found.due[found.seconds > 0.5]
    assert len(late) == found.repeats > 0
    assert late.min() > 5.0 - 50 * SECONDS and late.max() <= 5.5


def test_the_load_that_is_carried_keeps_its_bound_and_no_larger_one_does() -> None:
    fleet = ReplicaFleet(1, exponential)
    rate, found = carried(fleet, 0.1)
    expected = 1 / SECONDS - math.log(100) / 0.1  # the p99 of an M/M/1 queue is ln 100 / (mu - lambda)
    assert found.percentile(99) <= 0.1 and rate == pytest.approx(expected, rel=0.1)
    assert carried(fleet, SECONDS / 100)[0] == 0.0


def test_a_run_repeats_itself() -> None:
    fleet = ReplicaFleet(3, exponential, batch=2, queue=5)
    one, same, other = (simulate(fleet, 250.0, 2000, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.seconds, same.seconds) and not np.array_equal(one.seconds, other.seconds)
