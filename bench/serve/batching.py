"""What batches bring: several frames through the tail at a time, bare and in the server.

Processor time is measured beside wall time: it says what a frame costs on a machine that others use as well.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.serve.load import latencies, poisson
from bench.serve.process import ServerProcess, served_per_second
from runtime.bundle import Bundle
from runtime.serving.networks import Networks
from runtime.tail import PacketReader

BATCHES = (1, 2, 4, 8)
THREADS = (1, 2)
COMPARED = 4
"""Size of the batches whose gain over single frames is in the summary."""

CLIENTS = 16
"""Clients, each with one request at a time: more than there are workers, so that frames wait."""

BUSY = 0.7
"""Load at which all latencies are taken, as a share of what the server answers without batches."""

Row = dict[str, Any]


def bare(bundle: Bundle, packets: list[bytes], seconds: float, rounds: int) -> list[Row]:
    """Rounds of restore and tail alone, a row for each size of batch and number of threads."""
    networks, reader = Networks([bundle], max(BATCHES)), PacketReader(bundle)
    latents = [reader.read(packet).y_hat for packet in packets]
    rows = []
    for number in range(rounds):
        for threads in THREADS:
            for batch in BATCHES:
                given = [latents[i % len(latents)] for i in range(batch)]
                run = partial(networks.run, [bundle] * batch, given)
                frames, wall, cpu = _runs(run, threads, seconds)
                about = {"section": "batching", "where": "bare", "round": number}
                rows.append(about | _figures(threads, batch, frames * batch, wall, cpu))
    return rows


def served(bundle: Bundle, packets: list[bytes], workers: int, seconds: float, rounds: int) -> list[Row]:
    """Rounds of servers that differ in ``--batch`` alone, in turns: closed loop, and Poisson arrivals."""
    with ExitStack() as stack:
        servers = {}
        for batch in BATCHES:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
            servers[batch] = ServerProcess([bundle], workers, log, "--batch", str(batch))
            stack.callback(servers[batch].stop)
        rows = []
        for number in range(rounds):
            rate = 0.0
            for batch, server in servers.items():
                process, begin = psutil.Process(server.pid), time.perf_counter()
                before = sum(process.cpu_times()[:2])
                per_s = served_per_second(server.address, packets, CLIENTS, seconds)
                wall, cpu = time.perf_counter() - begin, sum(process.cpu_times()[:2]) - before
                rate = rate or BUSY * per_s
                late = latencies(server.address, packets, poisson(rate, seconds, number))
                row = {"section": "batching", "where": "served", "round": number}
                row |= _figures(workers, batch, per_s * wall, wall, cpu) | {"poisson_per_s": rate}
                rows.append(row | {f"poisson_p{p}_ms": 1e3 * float(np.percentile(late, p)) for p in (50, 99)})
    return rows


def gains(rows: list[Row], batch: int) -> dict[str, float]:
    """What batches of at most ``batch`` frames bring over single frames: medians over rounds of each ratio.

    batching_gain: requests a second of the server.
    batching_cpu: the server's processor time for a frame.
    batching_bare_gain: frames a second of restore and tail alone, in the largest number of threads.
    """
    found = {(row["where"], row["threads"], row["batch"], row["round"]): row for row in rows}

    def ratio(where: str, name: str) -> float:
        threads = max(row["threads"] for row in rows if row["where"] == where)
        rounds = {row["round"] for row in rows}
        pairs = [[found[where, threads, size, number][name] for size in (batch, 1)] for number in rounds]
        return statistics.median(ours / single for ours, single in pairs)

    return {
        "batching_gain": ratio("served", "per_s"), "batching_cpu": ratio("served", "cpu_ms"),
        "batching_bare_gain": ratio("bare", "per_s"),
    }  # fmt: skip


def _figures(threads: int, batch: int, frames: float, wall: float, cpu: float) -> Row:
    return {
        "threads": threads, "batch": batch, "per_s": frames / wall, "cpu_ms": 1e3 * cpu / frames,
    }  # fmt: skip


def _runs(call: Callable[[], object], threads: int, seconds: float) -> tuple[int, float, float]:
    """Number of calls in ``threads`` threads during ``seconds``, wall time, processor time."""
    counts, end = [0] * threads, time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            call()
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    begin, before = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts), time.perf_counter() - begin, time.process_time() - before
