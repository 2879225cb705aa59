"""What the tail server sustains, and what it and its client survive.

    python -m bench.serve [--sections efficiency batching latency crowd memory outage kills] [--json PATH]

``runtime serve`` runs in a process of its own, the load comes from this one, on the same cores.

efficiency  requests a second to closed-loop clients, and what bare tails in as many threads of this process
            decode, in turns. Both decode packets of the bundle and run its tail. What the clients take is the
            server's loss (``generator_cores``)
batching    restore and tail of 1, 2, 4 and 8 frames at a time, bare; and servers with that ``--batch``
            (``bench.serve.batching``)
latency     open loop at 70 % of what the server sustains just then, evenly spaced as cameras are: p99 since a
            request was due, over the p50 of single requests; the same for Poisson arrivals, where
            queues are longer; and of bare tails at 70 % of what they sustain, over the p50 of one at a time:
            the control, what this machine leaves of any p99
crowd       open loop at 50 %, without and with 500 idle connections and 50 slow readers, in turns
memory      resident bytes over 100,000 requests, 15 of 20 hostile (``bench.serve.memory``)
outage      clients at 5 frames a second, server away for a minute (``bench.serve.kills``)
kills       ``kill -9`` of server and client in turns, 1 % loss emulated: frames lost, and answered twice
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console

from bench.common import report
from bench.common.photos import photos
from bench.serve import batching as batching_runs
from bench.serve import kills as kill_runs
from bench.serve import memory as memory_runs
from bench.serve.load import crowd, latencies, one_by_one, poisson, spaced
from bench.serve.process import ServerProcess, bare_latencies, bare_per_second, served_per_second, serving
from runtime.bundle import DEFAULT, Bundle, load
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.head import Head

PHOTOS = 8
CLIENTS = 4
"""That ask again as soon as they have heard, for each worker: so there is always a short queue."""

BUSY, HALF = 0.7, 0.5
"""Shares of the capacity: of ``latency``, and of ``crowd``."""

IDLE, SLOW = 500, 50
SINGLE = 200
"""Requests whose median is the latency without load."""

SELDOM = 40.0
"""Frames a second that a bare tail is given one at a time."""

Row = dict[str, Any]
progress = Console(stderr=True)


@dataclass
class Case:
    """What every section is given; ``capacity`` in requests a second, once one has measured it."""

    server: ServerProcess
    bundle: Bundle
    images: list[NDArray[np.uint8]]
    packets: list[bytes]
    folder: Path
    options: argparse.Namespace
    capacity: float | None = None

    def served(self) -> float:
        """Requests a second, now; each client asks again when it has heard."""
        clients = CLIENTS * self.options.workers
        return served_per_second(self.server.address, self.packets, clients, self.options.seconds)

    def bare(self) -> float:
        """What bare tails in as many threads decode a second, now."""
        return bare_per_second(self.bundle, self.packets, self.options.workers, self.options.seconds)

    def known_capacity(self) -> float:
        """The capacity, measured where no section has."""
        self.capacity = self.capacity or self.served()
        return self.capacity


def efficiency(case: Case) -> list[Row]:
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


def batching(case: Case) -> list[Row]:
    """Rounds of each size, bare and served."""
    given = case.options
    bare = batching_runs.bare(case.bundle, case.packets, given.seconds / 5, given.rounds)
    return bare + batching_runs.served(case.bundle, case.packets, given.workers, given.seconds, given.rounds)


def latency(case: Case) -> list[Row]:
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


def crowded(case: Case) -> list[Row]:
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


def memory(case: Case) -> list[Row]:
    """One row, of a server that has served nothing else."""
    with serving([case.bundle], case.options.workers) as fresh:
        return [memory_runs.measure(fresh, case.bundle, case.packets, case.options.requests)]


def outage(case: Case) -> list[Row]:
    """A row a policy."""
    with serving([case.bundle], case.options.workers) as away:
        return kill_runs.away(away, case.bundle, case.images, case.options.down, case.folder)


def kills(case: Case) -> list[Row]:
    """One row."""
    folder = case.folder / "killed"
    return [kill_runs.killed(case.server, case.bundle, case.images, case.options.kills, folder)]


SECTIONS: dict[str, Callable[[Case], list[Row]]] = {
    "efficiency": efficiency,
    "batching": batching,
    "latency": latency,
    "crowd": crowded,
    "memory": memory,
    "outage": outage,
    "kills": kills,
}


def summarise(rows: list[Row]) -> dict[str, float]:
    """The figures that have bars: medians over rounds of each round's ratio, worst over policies."""
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
    if of("outage"):
        found["recovery_s"] = max(row["recovery_s"] for row in of("outage"))
    if counted := of("outage") + of("kills"):
        found |= {name: sum(row[name] for row in counted) for name in ("lost", "answered_twice")}
    return found


@program("bench.serve")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 with a message."""
    options = _parser().parse_args(arguments)
    rows = _measure(options)
    summary = summarise(rows)
    for row in rows:
        progress.print({name: value for name, value in row.items() if name != "rss_mb"})
    for name, value in summary.items():
        print(f"{name:<30} {value:.3f}")
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    report.write(options.json, "serve", settings, rows, summary)
    return 0


def _measure(options: argparse.Namespace) -> list[Row]:
    bundle = load(options.bundle)
    images = [bundle.manifest.preprocess.square(image) for _, image in photos()[:PHOTOS]]
    head = Head(bundle, EngineOptions(threads=1))
    packets = [head.encode(image).to_bytes() for image in images]
    rows: list[Row] = []
    with serving([bundle], options.workers) as server, tempfile.TemporaryDirectory() as folder:
        case = Case(server, bundle, images, packets, Path(folder), options)
        for name in options.sections:
            progress.print(f"{name} ...", highlight=False)
            rows += SECTIONS[name](case)
    return rows


def _ms(seconds: NDArray[np.float64], percentile: float) -> float:
    return 1e3 * float(np.percentile(seconds, percentile))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("bench.serve"), description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--bundle", default=DEFAULT, help="installed name or folder (default: %(default)s)")
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="(default: all)")
    add(
        "--workers",
        type=int,
        default=2,
        help="of the server, and threads of bare tails (default: %(default)s)",
    )
    add("--rounds", type=int, default=5, help="(default: %(default)s)")
    add("--seconds", type=float, default=5.0, help="of each turn of a round (default: %(default)s)")
    add("--requests", type=int, default=100_000, help="of the section memory (default: %(default)s)")
    add("--down", type=float, default=60.0, metavar="SECONDS", help="of the outage (default: %(default)s)")
    add("--kills", type=int, default=100, help="of each side (default: %(default)s)")
    report.add_json_argument(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
