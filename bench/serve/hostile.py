"""Memory of a server, and the latency of honest clients, while strangers take up what they can.

Two clients ask at the same time, one over HTTP, one over gRPC; as cameras, they are connected when the crowd
comes. Half of what they do without it comes before and half after, so that other work of the machine meets
both.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.serve.load import paced, spaced
from bench.serve.process import ServerProcess, served_per_second
from runtime.bundle import Bundle
from runtime.cli.program import python_module
from runtime.codec.packet import MAX_OVERHEAD
from runtime.serving.http_front import JSON_BYTES_PER_OCTET
from runtime.serving.intake.grpc_messages import MESSAGES, SERVICE, UINT_BYTES_PER_OCTET
from runtime.streaming.connection import MODEL, Connection
from runtime.tail import max_payload

CROWDS = ("unfinished", "json", "protobuf")
WATCHED = ("growth_mb", "p99_ratio", "grpc_p99_ratio")
"""What a row is judged by."""

HONEST_PER_S = 10.0
"""Frames a second of each honest client: a camera."""

IN_FLIGHT = 4
"""Requests of an honest client that may wait for answers, as of the client of ``runtime.streaming``."""

CLIENTS, WARM_SECONDS = 16, 3.0
"""Of the load before anything is measured: what a busy server takes, a crowd is not charged with."""

SETTLE_SECONDS = 12.0
"""Until the last of what is unfinished has been timed out."""


def measure(
    server: ServerProcess, bundle: Bundle, packets: list[bytes], what: str, seconds: float
) -> dict[str, Any]:
    """The row of one crowd.

    rss_mb, most_mb, after_mb: resident bytes before, at most, and after the crowd has gone.
    growth_mb: the most, less those before. p99_ratio: the honest client's p99 among the crowd, over without;
    grpc_...: of the one that speaks gRPC.
    """
    process = psutil.Process(server.pid)
    served_per_second(server.address, packets, CLIENTS, min(WARM_SECONDS, seconds))
    with Honest(server, packets) as honest:
        half = [honest.seconds_of(seconds / 2)]
        before = process.memory_info().rss
        with crowd(server, bundle, what), highest(process) as most:
            among = honest.seconds_of(seconds)
        time.sleep(min(SETTLE_SECONDS, seconds))
        after = process.memory_info().rss
        half.append(honest.seconds_of(seconds / 2))
    row = {
        "section": "hostile", "crowd": what, "seconds": seconds, "rss_mb": before / 1e6,
        "most_mb": most[0] / 1e6, "after_mb": after / 1e6, "growth_mb": max(0.0, (most[0] - before) / 1e6),
    }  # fmt: skip
    for name, number in (("", 0), ("grpc_", 1)):
        without = np.concatenate([times[number] for times in half])
        p99s = [1e3 * float(np.percentile(times, 99)) for times in (without, among[number])]
        row |= {f"{name}without_p99_ms": p99s[0], f"{name}among_p99_ms": p99s[1]}
        row[f"{name}p99_ratio"] = p99s[1] / p99s[0]
    return row


class Honest:
    """An HTTP client with a few connections, and a gRPC client with one channel; both stay connected."""

    def __init__(self, server: ServerProcess, packets: list[bytes]):
        import grpc

        self._packets, self._timeout = packets, server.address.timeout
        self._links = [Connection(server.address) for _ in range(IN_FLIGHT)]
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"{server.address.host}:{grpc_port(server)}", options)
        self._call = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        entry = {"name": "packet", "datatype": "UINT8"}
        self._messages = [
            MESSAGES["ModelInferRequest"](
                model_name=MODEL, inputs=[entry | {"shape": [len(packet)]}], raw_input_contents=[packet]
            ).SerializeToString()
            for packet in packets
        ]

    def __enter__(self) -> Honest:
        for number, link in enumerate(self._links):
            self._http(link, number)
            self._grpc(0, number)
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            link.close()
        self._channel.close()

    def seconds_of(self, length: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Seconds from the moment each request was due to its answer, over HTTP and over gRPC."""
        due = spaced(HONEST_PER_S, length)
        with ThreadPoolExecutor(2) as both:
            http = both.submit(paced, self._links, due, self._http)
            grpc = both.submit(paced, range(IN_FLIGHT), due + 0.5 / HONEST_PER_S, self._grpc)
            return http.result(), grpc.result()

    def _http(self, link: Connection, number: int) -> None:
        link.infer("", self._packets[number % len(self._packets)])

    def _grpc(self, _: int, number: int) -> None:
        self._call(self._messages[number % len(self._messages)], timeout=self._timeout)


def grpc_port(server: ServerProcess) -> int:
    """Where it listens for gRPC."""
    lines = server.log.read_bytes().splitlines()
    return int([json.loads(line) for line in lines if b'"listening"' in line][-1]["grpc_port"])


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The worst of all crowds."""
    return {f"hostile_{key}": max(row[key] for row in rows) for key in WATCHED}


@contextmanager
def crowd(server: ServerProcess, bundle: Bundle, what: str) -> Iterator[None]:
    """Strangers in a process of their own."""
    octet = UINT_BYTES_PER_OCTET if what == "protobuf" else JSON_BYTES_PER_OCTET
    size = octet * (max_payload(bundle) + MAX_OVERHEAD)
    address = server.address.host, str(server.address.port), str(grpc_port(server))
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
