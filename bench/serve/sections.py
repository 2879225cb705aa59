"""The sections of ``bench.serve``: each measures one thing and returns rows with its name as ``section``."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.serve import batching as batching_runs
from bench.serve import hostile as hostile_runs
from bench.serve import kills as kill_runs
from bench.serve import memory as memory_runs
from bench.serve.load import crowd, latencies, one_by_one, poisson, spaced
from bench.serve.process import ServerProcess, bare_latencies, bare_per_second, served_per_second, serving
from runtime.bundle import Bundle

CLIENTS = 4
"""Clients for each worker; each asks again as soon as it has heard, so there is always a short queue."""

BUSY, HALF = 0.7, 0.5
"""Shares of the capacity: of ``latency``, and of ``crowd``."""

IDLE, SLOW = 500, 50
SINGLE = 200
"""Requests whose median is the latency without load."""

SELDOM = 40.0
"""Frames a second that a bare tail is given one at a time."""

Row = dict[str, Any]


@dataclass
class ServeCase:
    """What every section is given. capacity: requests a second, once a section has measured them."""

    server: ServerProcess
    bundle: Bundle
    images: list[NDArray[np.uint8]]
    packets: list[bytes]
    folder: Path
    options: argparse.Namespace
    capacity: float | None = None

    def served(self) -> float:
        """Requests a second at this moment; each client asks again when it has heard."""
        clients = CLIENTS * self.options.workers
        return served_per_second(self.server.address, self.packets, clients, self.options.seconds)

    def bare(self) -> float:
        """Frames a second that bare tails in as many threads decode at this moment."""
        return bare_per_second(self.bundle, self.packets, self.options.workers, self.options.seconds)

    def known_capacity(self) -> float:
        """The capacity, measured here where no section has done it."""
        self.capacity = self.capacity or self.served()
        return self.capacity


def efficiency(case: ServeCase) -> list[Row]:
    """Rounds of server and bare tails."""
    rows: list[Row] = []
    server = psutil.Process(case.server.pid)
    for number in range(case.options.rounds):
        ours, theirs, begin = time.process_time(), sum(server.cpu_times()[:2]), time.perf_counter()
        served = case.served()
        wall = time.perf_counter() - begin
        cores = {
            "generator_cores": (time.process_time() - ours) / wall,
            "server_cores": (sum(server.cpu_times()[:2]) - theirs) / wall,
        }
        bare = case.bare()
        rows.append(
            {"section": "efficiency", "round": number, "served_per_s": served, "bare_per_s": bare} | cores
        )
    case.capacity = statistics.median(row["served_per_s"] for row in rows)
    return rows


def batching(case: ServeCase) -> list[Row]:
    """Rounds of each size, bare and served."""
    given = case.options
    bare = batching_runs.bare(case.bundle, case.packets, given.seconds / 5, given.rounds)
    return bare + batching_runs.served(case.bundle, case.packets, given.workers, given.seconds, given.rounds)


def latency(case: ServeCase) -> list[Row]:
    """Rounds of single requests, evenly spaced ones, Poisson ones, and of bare tails."""
    rows, address, seldom = [], case.server.address, spaced(SELDOM, SINGLE / SELDOM)
    for number in range(case.options.rounds):
        rate, bare_rate = BUSY * case.served(), BUSY * case.bare()
        single = one_by_one(address, case.packets, SINGLE)
        row = {"section": "latency", "round": number, "per_s": rate, "bare_per_s": bare_rate}
        row["unloaded_p50_ms"] = _ms(single, 50)
        for name, due in (
            ("spaced", spaced(rate, case.options.seconds)),
            ("poisson", poisson(rate, case.options.seconds, number)),
        ):
            seconds = latencies(address, case.packets, due)
            row |= {f"{name}_p50_ms": _ms(seconds, 50), f"{name}_p99_ms": _ms(seconds, 99)}
        for name, due in (("single", seldom), ("spaced", spaced(bare_rate, case.options.seconds))):
            seconds = bare_latencies(case.bundle, case.packets, case.options.workers, due)
            row |= {f"bare_{name}_p50_ms": _ms(seconds, 50), f"bare_{name}_p99_ms": _ms(seconds, 99)}
        rows.append(row)
    return rows


def crowded(case: ServeCase) -> list[Row]:
    """Rounds without and with connections that only take up room."""
    rows, address, rate = [], case.server.address, HALF * case.known_capacity()
    due = spaced(rate, case.options.seconds)
    for number in range(case.options.rounds):
        without = latencies(address, case.packets, due)
        with crowd(address, case.packets[0], IDLE, SLOW):
            among = latencies(address, case.packets, due)
        row = {"section": "crowd", "round": number, "per_s": rate, "idle": IDLE, "slow": SLOW}
        rows.append(row | {"without_p99_ms": _ms(without, 99), "with_p99_ms": _ms(among, 99)})
    return rows


def memory(case: ServeCase) -> list[Row]:
    """One row, of a server that has served nothing else."""
    with serving([case.bundle], case.options.workers) as fresh:
        return [memory_runs.measure(fresh, case.bundle, case.packets, case.options.requests)]


def hostile(case: ServeCase) -> Iterator[Row]:
    """A row a crowd, of a server that has served nothing else."""
    for what in case.options.crowds:
        with serving([case.bundle], case.options.workers) as fresh:
            yield hostile_runs.measure(fresh, case.bundle, case.packets, what, case.options.held)


def outage(case: ServeCase) -> list[Row]:
    """A row a policy."""
    with serving([case.bundle], case.options.workers) as away:
        return kill_runs.away(away, case.bundle, case.images, case.options.down, case.folder)


def kills(case: ServeCase) -> list[Row]:
    """One row."""
    folder = case.folder / "killed"
    return [kill_runs.killed(case.server, case.bundle, case.images, case.options.kills, folder)]


SECTIONS: dict[str, Callable[[ServeCase], Iterable[Row]]] = {
    "efficiency": efficiency,
    "batching": batching,
    "latency": latency,
    "crowd": crowded,
    "memory": memory,
    "hostile": hostile,
    "outage": outage,
    "kills": kills,
}


ABOUT = {
    "efficiency": "requests a second, and what bare tails decode",
    "batching": "what several frames at a time bring, bare and served",
    "latency": "p99 at 70 % of the capacity",
    "crowd": "p99 among idle connections and slow readers",
    "memory": "resident bytes over many requests, most of them hostile",
    "hostile": "resident bytes and an honest client's p99 among unfinished requests, and among bombs",
    "outage": "the server is away: when the next answer comes",
    "kills": "kill -9 of both sides: frames lost, and answered twice",
}


def summarise(rows: list[Row]) -> dict[str, float]:
    """The figures that are watched: medians over rounds of each round's ratio, worst over policies."""
    found: dict[str, float] = {}

    def of(section: str) -> list[Row]:
        return [row for row in rows if row["section"] == section]

    def median(section: str, over: str, under: str) -> float:
        return statistics.median(row[over] / row[under] for row in of(section))

    if of("efficiency"):
        found["efficiency"] = median("efficiency", "served_per_s", "bare_per_s")
        for name in ("served_per_s", "bare_per_s", "generator_cores"):
            found[name] = statistics.median(row[name] for row in of("efficiency"))
    if of("batching"):
        found |= batching_runs.gains(of("batching"), batching_runs.COMPARED)
    if of("latency"):
        found["p99_at_70_over_p50"] = median("latency", "spaced_p99_ms", "unloaded_p50_ms")
        found["bare_p99_over_p50"] = median("latency", "bare_spaced_p99_ms", "bare_single_p50_ms")
        found["p99_at_70_poisson_over_p50"] = median("latency", "poisson_p99_ms", "unloaded_p50_ms")
    if of("crowd"):
        found["p99_with_idlers_over_without"] = median("crowd", "with_p99_ms", "without_p99_ms")
    for row in of("memory"):
        found["memory_growth"] = row["growth"]
    if of("hostile"):
        found |= hostile_runs.summary(of("hostile"))
    if of("outage"):
        found["recovery_s"] = max(row["recovery_s"] for row in of("outage"))
    if counted := of("outage") + of("kills"):
        found |= {name: sum(row[name] for row in counted) for name in ("lost", "answered_twice")}
    return found


def _ms(seconds: NDArray[np.float64], percentile: float) -> float:
    return 1e3 * float(np.percentile(seconds, percentile))
