"""A tail server in a process of its own; frames a second that it answers, and that bare tails decode."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import BenchError
from bench.serve.load import paced
from runtime.bundle import Bundle
from runtime.cli.program import python_module
from runtime.engines import EngineOptions
from runtime.streaming.connection import Address, Connection
from runtime.tail import Tail

START_SECONDS = 60.0
TIMEOUT = 30.0


class ServerProcess:
    """``python -m runtime serve`` on loopback; ``more`` are its arguments. BenchError when it does not start.

    Attributes:
        address: where it listens; the same after ``start`` has been called again.
        log: JSON lines of all processes, one after the other.
    """

    def __init__(self, bundles: list[Bundle], workers: int, log: Path, *more: str):
        self.log, self.address = log, Address("127.0.0.1", 0, TIMEOUT)
        named = [word for bundle in bundles for word in ("--bundle", str(bundle.folder))]
        self._command = [*python_module("runtime"), "serve", *named]
        self._command += ["--grpc-port", "0", "--workers", str(workers), "--log", str(log), *more]
        self.start()

    def start(self) -> None:
        """Start, and wait until it listens."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        self._process = subprocess.Popen([*self._command, "--http-port", str(self.address.port)])
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self.log.read_bytes()[begin:].splitlines() if self.log.exists() else []:
                if b'"listening"' in line and line.endswith(b"}"):
                    self.address = Address("127.0.0.1", int(json.loads(line)["http_port"]), TIMEOUT)
                    return
            time.sleep(0.02)
        self.kill()
        raise BenchError("the server did not start; try: ratehold serve")

    @property
    def pid(self) -> int:
        """Process id of the server that was started last."""
        return self._process.pid

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM: it drains."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def serving(bundles: list[Bundle], workers: int) -> Iterator[ServerProcess]:
    """A server that is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(bundles, workers, Path(folder) / "log")
        try:
            yield server
        finally:
            server.stop()


def served_per_second(address: Address, packets: list[bytes], clients: int, seconds: float) -> float:
    """Frames a second that the server answers to ``clients`` clients; each asks again once it has heard."""
    links = [Connection(address) for _ in range(clients)]
    rate = _rate([lambda packet, link=link: link.infer("", packet) for link in links], packets, seconds)  # type: ignore[misc]
    for link in links:
        link.close()
    return rate


def bare_per_second(bundle: Bundle, packets: list[bytes], workers: int, seconds: float) -> float:
    """Frames a second that ``workers`` tails decode in threads of this process, without a server."""
    tails = [Tail(bundle, EngineOptions(threads=1)) for _ in range(workers)]
    for tail in tails:
        tail.decode(packets[0])
    return _rate([tail.decode for tail in tails], packets, seconds)


def bare_latencies(
    bundle: Bundle, packets: list[bytes], workers: int, due: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds from the moment each packet was due until a bare tail had decoded it."""
    tails = [Tail(bundle, EngineOptions(threads=1)) for _ in range(workers)]
    for tail in tails:
        tail.decode(packets[0])
    return paced(tails, due, lambda tail, number: tail.decode(packets[number % len(packets)]))


def _rate(calls: list[Callable[[bytes], object]], packets: list[bytes], seconds: float) -> float:
    """Calls a second of several threads together, from a common start to the end of the last call."""
    counts, failures = [0] * len(calls), []
    start = threading.Barrier(len(calls) + 1)

    def work(number: int) -> None:
        start.wait()
        end = time.perf_counter() + seconds
        try:
            while time.perf_counter() < end:
                calls[number](packets[counts[number] % len(packets)])
                counts[number] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    if failures:
        raise failures[0]
    return sum(counts) / elapsed
