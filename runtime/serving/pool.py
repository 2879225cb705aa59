"""Tails in threads behind a bounded queue.

The graphs take one frame at a time (static batch 1), so there is nothing to batch: several workers, each with
one thread and a Tail of its own, keep the cores busy instead. A queue that is full is said at once, and
bounds what a request waits for the others: (queue / workers + 1) frames.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.coder import open_coder
from runtime.engines import EngineOptions
from runtime.errors import TryLater
from runtime.packet import Flags, Packet, symbol_checksum
from runtime.prior import open_prior
from runtime.tail import Tail


@dataclass(frozen=True)
class Answer:
    """What became of one packet.

    logits: float32 (classes,).
    flags: what the device had done to the frame.
    seconds: wall time by stage: queue, decode, tail.
    """

    bundle: str
    logits: NDArray[np.float32]
    flags: Flags
    seconds: dict[str, float]


class Pool:
    """Opens and warms a tail of each bundle, and more of one, up to ``workers``, once its packets overlap.

    ``submit`` belongs to the event loop's thread.

    Attributes:
        pending: packets accepted and not yet answered.
    """

    def __init__(self, bundles: list[Bundle], workers: int, queue: int):
        self.pending = 0
        self._workers, self._most = workers, workers + queue
        self._executor = ThreadPoolExecutor(workers, "tail")
        self._idle: dict[bytes, SimpleQueue[Tail]] = {bundle.id: SimpleQueue() for bundle in bundles}
        for bundle in bundles:
            self._idle[bundle.id].put(_open(bundle))

    @property
    def waiting(self) -> int:
        """Packets that no worker has begun with."""
        return max(0, self.pending - self._workers)

    def submit(self, bundle: Bundle, packet: bytes) -> asyncio.Future[Answer]:
        """Decode a packet in one of the threads. Raises TryLater when the queue is full.

        The future raises what ``Tail.decode`` raises.
        """
        if self.pending >= self._most:
            raise TryLater(f"{self.waiting} frames are waiting already: try later")
        self.pending += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._decode, bundle, packet, time.perf_counter())
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Let the threads end with what they are at; what still waits is cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _decode(self, bundle: Bundle, packet: bytes, submitted: float) -> Answer:
        queued = time.perf_counter() - submitted
        idle = self._idle[bundle.id]
        try:
            tail = idle.get_nowait()
        except Empty:
            tail = _open(bundle)
        try:
            logits = tail.decode(packet)
            assert tail.report is not None
            seconds = {"queue": queued, **tail.report.seconds}
            return Answer(bundle.manifest.name, logits, tail.report.flags, seconds)
        except Exception as error:
            _clear_frames(error)
            raise
        finally:
            idle.put(tail)

    def _done(self, _: asyncio.Future[Answer]) -> None:
        self.pending -= 1


def _clear_frames(error: BaseException | None) -> None:
    """Let go of what the functions that failed were at: an error lives on in cycles with those who wait for
    it, and half-decoded frames would pile up until the garbage collector comes by.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _open(bundle: Bundle) -> Tail:
    """A tail that has decoded a packet: whatever is compiled or allocated late has been."""
    tail = Tail(bundle, EngineOptions(threads=1))
    tail.decode(empty_packet(bundle))
    return tail


def empty_packet(bundle: Bundle) -> bytes:
    """The packet whose symbols are all zero."""
    shapes = [shape for shape in (bundle.manifest.latent, bundle.manifest.hyper) if shape]
    prior = open_prior(bundle, EngineOptions(threads=1))
    streams = prior.code(*(np.zeros((1, *shape), np.float32) for shape in shapes))
    encoder = open_coder().encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    for stream in reversed(streams):
        encoder.push(stream.symbols, stream.index, stream.tables)
    return Packet(bundle.id, Flags.NONE, encoder.finish()).to_bytes()
