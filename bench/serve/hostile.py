"""Memory of a server, and the latency of an honest client, while strangers take up what they can."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil

from bench.serve.load import latencies, spaced
from bench.serve.process import ServerProcess
from runtime.bundle import Bundle
from runtime.cli.program import python_module
from runtime.codec.packet import MAX_OVERHEAD
from runtime.serving.http_front import JSON_BYTES_PER_OCTET
from runtime.serving.intake.grpc_messages import UINT_BYTES_PER_OCTET
from runtime.tail import max_payload

CROWDS = ("unfinished", "json", "protobuf")
HONEST_PER_S = 20.0
"""Frames a second of the honest client: a camera or two."""

SETTLE_SECONDS = 12.0
"""Until the last of what is unfinished has been timed out."""


def measure(
    server: ServerProcess, bundle: Bundle, packets: list[bytes], what: str, seconds: float
) -> dict[str, Any]:
    """The row of one crowd.

    rss_mb, most_mb, after_mb: resident bytes before, at most, and after the crowd has gone.
    growth_mb: the most, less those before. p99_ratio: the honest client's p99 among the crowd, over without.
    """
    process = psutil.Process(server.pid)
    latencies(server.address, packets, spaced(HONEST_PER_S, 2.0))  # warm
    due = spaced(HONEST_PER_S, seconds)
    without = latencies(server.address, packets, due)
    before = process.memory_info().rss
    with crowd(server, bundle, what), highest(process) as most:
        among = latencies(server.address, packets, due)
    time.sleep(min(SETTLE_SECONDS, seconds))
    p99s = [1e3 * float(np.percentile(times, 99)) for times in (without, among)]
    return {
        "section": "hostile", "crowd": what, "seconds": seconds, "rss_mb": before / 1e6,
        "most_mb": most[0] / 1e6, "after_mb": process.memory_info().rss / 1e6,
        "growth_mb": max(0.0, (most[0] - before) / 1e6),
        "without_p99_ms": p99s[0], "among_p99_ms": p99s[1], "p99_ratio": p99s[1] / p99s[0],
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The worst of all crowds."""
    return {
        "hostile_growth_mb": max(row["growth_mb"] for row in rows),
        "hostile_p99_ratio": max(row["p99_ratio"] for row in rows),
    }


@contextmanager
def crowd(server: ServerProcess, bundle: Bundle, what: str) -> Iterator[None]:
    """Strangers in a process of their own."""
    listening = [json.loads(line) for line in server.log.read_bytes().splitlines() if b'"listening"' in line]
    octet = UINT_BYTES_PER_OCTET if what == "protobuf" else JSON_BYTES_PER_OCTET
    size = octet * (max_payload(bundle) + MAX_OVERHEAD)
    address = server.address.host, str(server.address.port), str(listening[-1]["grpc_port"])
    command = [*python_module("bench.serve.strangers"), what, *address, str(size)]
    strangers = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        strangers.kill()
        strangers.wait()


@contextmanager
def highest(process: psutil.Process) -> Iterator[list[int]]:
    """The most resident bytes within, as the one element of a list; looked at twenty times a second."""
    found, stop = [process.memory_info().rss], threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            found[0] = max(found[0], process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
