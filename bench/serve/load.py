"""Load on a server from this process: at a pace of its own, and by clients that only take up room."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import BenchError
from runtime.streaming.connection import JSON_LENGTH, MODEL, Address, Connection

Worker = TypeVar("Worker")

CONNECTIONS = 16
"""Requests in flight at most: a late one does not hold up the next ones."""

PIPELINED = 40
"""Requests that a slow reader sends at once: their answers, logits as JSON, are more than sockets hold."""

SIP_BYTES, SIP_SECONDS = 256, 0.25
"""A slow reader takes so many bytes, so often."""

QUIET, QUIET_SECONDS, MOST_SECONDS = 10, 1.0, 60.0
"""A server is quiet that begins at most ``QUIET`` requests in ``QUIET_SECONDS``; the longest wait for it."""

REQUESTS = b'ratehold_requests_total{protocol="http"} '


def spaced(rate: float, seconds: float) -> NDArray[np.float64]:
    """Due times of requests, in seconds: evenly spaced, as those of cameras are."""
    return np.arange(int(rate * seconds)) / rate


def poisson(rate: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Due times of requests, in seconds: a Poisson process, as of very many devices."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    return np.cumsum(gaps)


def latencies(address: Address, packets: list[bytes], due: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds from the moment each request was due to its answer: open loop, so that a queue shows."""
    links = [Connection(address) for _ in range(CONNECTIONS)]
    try:
        return paced(links, due, lambda link, number: link.infer("", packets[number % len(packets)]))
    finally:
        for link in links:
            link.close()


def paced(
    workers: Sequence[Worker], due: NDArray[np.float64], call: Callable[[Worker, int], object]
) -> NDArray[np.float64]:
    """Seconds from the moment each call was due to its end; a free worker makes the next call."""
    seconds, begin = np.zeros(len(due)), time.perf_counter() + 0.1

    def work(worker: Worker, number: int) -> None:
        time.sleep(max(0.0, begin + due[number] - time.perf_counter()))
        call(worker, number)
        seconds[number] = time.perf_counter() - begin - due[number]

    together(workers, len(due), work)
    return seconds


def together(workers: Sequence[Worker], count: int, work: Callable[[Worker, int], None]) -> None:
    """Do the jobs 0 .. count - 1 in one thread a worker; a free worker takes the next job.

    Raises the first exception of a job; its worker takes no further ones, the others go on.
    """
    numbers, lock, failures = iter(range(count)), threading.Lock(), list[Exception]()

    def run(worker: Worker) -> None:
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                work(worker, number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def one_by_one(address: Address, packets: list[bytes], count: int) -> NDArray[np.float64]:
    """Seconds of so many requests, each sent when the server has had nothing to do for 10 ms."""
    link, seconds = Connection(address), []
    for number in range(count):
        time.sleep(0.01)
        begin = time.perf_counter()
        link.infer("", packets[number % len(packets)])
        seconds.append(time.perf_counter() - begin)
    link.close()
    return np.array(seconds)


@contextmanager
def crowd(address: Address, packet: bytes, idle: int, slow: int) -> Iterator[None]:
    """Hold ``idle`` connections that say nothing, and ``slow`` ones that ask for much and hardly read it.

    The body begins when the server is quiet: when it waits for the slow readers.
    """
    with ExitStack() as stack:
        where = address.host, address.port
        for _ in range(idle):
            stack.enter_context(socket.create_connection(where))
        readers = [stack.enter_context(_slow_reader(where, packet)) for _ in range(slow)]
        stop = threading.Event()
        thread = threading.Thread(target=_sip, args=(readers, stop))
        thread.start()
        try:
            _wait_until_quiet(address)
            yield
        finally:
            stop.set()
            thread.join()


def post(content: bytes, headers: dict[str, str], model: str = MODEL) -> bytes:
    """The bytes of an HTTP request for inference."""
    headers = {"Host": "localhost", "Content-Length": str(len(content))} | headers
    lines = [f"POST /v2/models/{model}/infer HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + content


def everything(identity: str, packet: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers that ask for all outputs as JSON, a thousand logits among them."""
    tensor = {"name": "packet", "datatype": "UINT8", "shape": [len(packet)]}
    entry = tensor | {"parameters": {"binary_data_size": len(packet)}}
    text = json.dumps({"id": identity, "inputs": [entry]}).encode()
    return text + packet, {JSON_LENGTH: str(len(text))}


def _wait_until_quiet(address: Address) -> None:
    """Count requests: by its load alone, a server looks quiet on a processor that is busy with others."""
    deadline, before = time.monotonic() + MOST_SECONDS, -float("inf")
    while (now := _requests(address)) - before > QUIET:
        if time.monotonic() > deadline:
            raise BenchError(f"the server is still busy with slow readers after {MOST_SECONDS:g} s")
        before = now
        time.sleep(QUIET_SECONDS)


def _requests(address: Address) -> float:
    """Requests that the server has begun with, as its metrics have it; 0 before the first."""
    with closing(HTTPConnection(address.host, address.port, timeout=address.timeout)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().splitlines()
    return sum(float(line.removeprefix(REQUESTS)) for line in lines if line.startswith(REQUESTS))


def _slow_reader(where: tuple[str, int], packet: bytes) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(10.0)
    reader.connect(where)
    with suppress(TimeoutError):  # the server does not read on before its answers are read
        reader.sendall(post(*everything("slow reader", packet)) * PIPELINED)
    reader.setblocking(False)
    return reader


def _sip(readers: list[socket.socket], stop: threading.Event) -> None:
    while not stop.wait(SIP_SECONDS):
        for reader in readers:
            with suppress(BlockingIOError):
                reader.recv(SIP_BYTES)
