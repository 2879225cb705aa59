"""A simulation, not a measurement: many replicas that answer frames in service times that were measured.

Frames arrive as a Poisson process, from devices of equal rate. A free worker of a replica takes what waits
there, up to a batch. A replica whose queue is full refuses a frame, which then goes to another one.

    routing  kept     a device keeps to one replica, drawn at random: ``ratehold stream --to a,b,c``
             shorter  the shorter queue of two replicas drawn at random: Ray Serve
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Routing = Literal["kept", "shorter"]
Service = Callable[[Random, int], float]
"""(dice, n) -> seconds of a run of n frames."""

TRIES = 10
"""Replicas that refuse a frame before it counts as an error."""

WARM = 0.2
"""Share of the frames, the first ones, that no figure counts: queues begin empty."""

STEPS = 7
"""Bisections of the load that is carried: to 1 % of the capacity."""

FRAMES, FRAMES_A_REPLICA = 20_000, 300
"""Frames of a search: the larger of the first and, for each replica, the second."""


@dataclass(frozen=True)
class ReplicaFleet:
    """Equal replicas.

    service: of one worker.
    workers: frames or batches that a replica works on at a time.
    batch: most frames of a run.
    queue: most frames that wait in a replica; None: any number.
    devices: for each replica, on the whole fleet's average.
    """

    replicas: int
    service: Service
    workers: int = 1
    batch: int = 1
    queue: int | None = None
    routing: Routing = "shorter"
    devices: int = 20


@dataclass(frozen=True)
class LostNode:
    """Replicas that fall silent for good.

    at: when, in seconds. replicas: how many. notice: seconds until a frame that was sent there is sent
    elsewhere; from ``at + notice`` on nobody sends there.
    """

    at: float
    replicas: int
    notice: float


@dataclass(frozen=True)
class SimulatedRun:
    """What became of the frames.

    due: seconds, when each arrived. seconds: from there to its answer, infinite for an error.
    repeats: refusals, and frames that were sent again. errors: frames without an answer.
    together: mean number of frames in a run.
    """

    due: NDArray[np.float64]
    seconds: NDArray[np.float64]
    repeats: int
    errors: int
    together: float

    def percentile(self, percent: float, begin: float | None = None) -> float:
        """Of the seconds of frames due at ``begin`` or later; without it, all but the first ones."""
        counted = (
            self.seconds[int(WARM * len(self.due)) :] if begin is None else self.seconds[self.due >= begin]
        )
        return float(np.percentile(counted, percent, method="lower"))


def simulate(
    fleet: ReplicaFleet, rate: float, frames: int, seed: int = 0, lost: LostNode | None = None
) -> SimulatedRun:
    """So many frames at ``rate`` a second, to the answer of the last one. The same seed, the same run."""
    return _Simulation(fleet, rate, frames, seed, lost).run()


def capacity(fleet: ReplicaFleet, draws: int = 4000) -> float:
    """Frames a second with a queue that is never empty."""
    dice = Random(1)
    seconds = sum(fleet.service(dice, fleet.batch) for _ in range(draws)) / draws
    return fleet.replicas * fleet.workers * fleet.batch / seconds


def carried(fleet: ReplicaFleet, p99: float, seed: int = 0) -> tuple[float, SimulatedRun]:
    """The largest rate, frames a second, at which 99 of 100 answers come within ``p99`` seconds; its run.

    The rate is 0 where a fleet is too slow for that at a hundredth of its capacity already.
    """
    most, frames = capacity(fleet), max(FRAMES, FRAMES_A_REPLICA * fleet.replicas)
    low, high = 0.01, 1.0
    found = simulate(fleet, low * most, frames, seed)
    if found.percentile(99) > p99:
        return 0.0, found
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = simulate(fleet, middle * most, frames, seed)
        if tried.percentile(99) <= p99:
            low, found = middle, tried
        else:
            high = middle
    return low * most, found


@dataclass
class _SimulatedReplica:
    """idle: free workers. waiting: frames. runs: frames under way, by the number of the run."""

    idle: int
    waiting: deque[int] = field(default_factory=deque)
    runs: dict[int, list[int]] = field(default_factory=dict)
    silent: bool = False

    @property
    def load(self) -> int:
        return len(self.waiting) + sum(map(len, self.runs.values()))


class _Simulation:
    def __init__(self, fleet: ReplicaFleet, rate: float, frames: int, seed: int, lost: LostNode | None):
        self._fleet, self._lost, self._dice = fleet, lost, Random(seed)
        rng = np.random.default_rng(seed)
        self._due = np.cumsum(rng.exponential(1 / rate, frames))
        devices = fleet.devices * fleet.replicas
        self._sender = rng.integers(devices, size=frames).tolist()
        self._home = rng.integers(fleet.replicas, size=devices).tolist()
        self._replicas = [_SimulatedReplica(fleet.workers) for _ in range(fleet.replicas)]
        self._first = 0
        """Replicas before this one are known to be lost."""
        self._answered = np.full(frames, np.inf)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = self._repeats = self._errors = self._runs = self._frames_run = 0

    def run(self) -> SimulatedRun:
        if self._lost is not None:
            self._at(self._lost.at, self._lose, self._lost)
            self._at(self._lost.at + self._lost.notice, self._notice, self._lost)
        for now, frame in self._arrivals():
            self._send(now, frame)
        together = self._frames_run / max(1, self._runs)
        return SimulatedRun(self._due, self._answered - self._due, self._repeats, self._errors, together)

    def _arrivals(self) -> Iterator[tuple[float, int]]:
        """Each frame when it is due; what happens before that happens first."""
        for frame, due in enumerate(self._due.tolist()):
            self._until(due)
            yield due, frame
        self._until(float("inf"))

    def _until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            now, _, call, given = heapq.heappop(self._events)
            call(now, *given)

    def _at(self, time: float, call: Callable[..., None], *given: Any) -> None:
        self._serial += 1
        heapq.heappush(self._events, (time, self._serial, call, given))

    def _send(self, now: float, frame: int) -> None:
        for _ in range(TRIES):
            number = self._choose(frame)
            replica = self._replicas[number]
            if replica.silent:
                self._sent_again(now, [frame])
                return
            if replica.idle or self._fleet.queue is None or len(replica.waiting) < self._fleet.queue:
                replica.waiting.append(frame)
                if replica.idle:
                    self._begin(now, number)
                return
            self._repeats += 1
            self._home[self._sender[frame]] = self._drawn()
        self._errors += 1

    def _choose(self, frame: int) -> int:
        if self._fleet.routing == "shorter":
            one, other = self._drawn(), self._drawn()
            return one if self._replicas[one].load <= self._replicas[other].load else other
        home: int = self._home[self._sender[frame]]
        if home < self._first:
            home = self._home[self._sender[frame]] = self._drawn()
        return home

    def _drawn(self) -> int:
        return self._first + int(self._dice.random() * (self._fleet.replicas - self._first))

    def _begin(self, now: float, number: int) -> None:
        """A free worker takes its share of what waits, as those of ``runtime.serving.pool`` do."""
        replica = self._replicas[number]
        count = min(self._fleet.batch, -(-len(replica.waiting) // self._fleet.workers))
        taken = [replica.waiting.popleft() for _ in range(count)]
        replica.idle -= 1
        self._runs += 1
        self._frames_run += count
        replica.runs[self._runs] = taken
        self._at(now + self._fleet.service(self._dice, count), self._end, number, self._runs)

    def _end(self, now: float, number: int, run: int) -> None:
        replica = self._replicas[number]
        if run not in replica.runs:  # it fell silent before
            return
        for frame in replica.runs.pop(run):
            self._answered[frame] = now
        replica.idle += 1
        if replica.waiting:
            self._begin(now, number)

    def _lose(self, now: float, lost: LostNode) -> None:
        for replica in self._replicas[: lost.replicas]:
            replica.silent = True
            self._sent_again(now, [*replica.waiting, *chain(*replica.runs.values())])
            replica.waiting.clear()
            replica.runs.clear()

    def _notice(self, _: float, lost: LostNode) -> None:
        self._first = lost.replicas

    def _sent_again(self, now: float, frames: list[int]) -> None:
        assert self._lost is not None
        for frame in frames:
            self._repeats += 1
            self._at(now + self._lost.notice, self._send, frame)
