"""Workers in threads behind a bounded queue: packets -> logits, several frames in one run of the tail.

A frame never waits for companions unless it is told to (``wait``): a worker that is free takes what is there.
So batches form only where frames wait anyway, and make the queue shorter. A queue that is full is said at
once, and bounds what a request waits for the others: (queue / workers + 1) frames.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue

import numpy as np

from runtime.bundle import Bundle
from runtime.codec.coder import open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import TryLater
from runtime.prior import open_prior
from runtime.prior.base import push_streams
from runtime.serving.answer import Answer
from runtime.serving.networks import OPTIONS, Networks
from runtime.serving.waiting import Job, Waiting
from runtime.tail import Reader, Received


class Pool:
    """Opens and warms a reader of each bundle, and more of one, up to ``workers``, once its packets overlap.

    ``submit`` belongs to the event loop's thread.

    Args:
        bundles: that are decoded; those with the same tail share runs of it.
        workers: threads.
        queue: frames that may wait for one.
        batch: most frames in one run.
        wait: seconds that a frame waits for companions at most.
        on_run: told how many frames were in each run of a tail, in a worker's thread.

    Attributes:
        networks: what the frames run through.
        pending: packets accepted and not yet answered.
    """

    def __init__(
        self,
        bundles: list[Bundle],
        workers: int,
        queue: int,
        batch: int = 1,
        wait: float = 0.0,
        on_run: Callable[[int], None] = lambda _: None,
    ):
        self.pending = 0
        self.networks = Networks(bundles, batch)
        self._workers, self._most, self._on_run = workers, workers + queue, on_run
        self._threads: list[threading.Thread] = []
        self._waiting = Waiting(workers, batch, wait)
        self._idle: dict[bytes, SimpleQueue[Reader]] = {bundle.id: SimpleQueue() for bundle in bundles}
        for bundle in bundles:
            reader = _open(bundle)
            latent = reader.read(empty_packet(bundle)).y_hat
            together = 1 if self.networks.company(bundle) is None else batch
            self.networks.run([bundle] * together, [latent] * together)  # allocates what the largest needs
            self._idle[bundle.id].put(reader)

    @property
    def waiting(self) -> int:
        """Packets that no worker has begun with, but for those that a free one is about to take."""
        return min(len(self._waiting), max(0, self.pending - self._workers))

    def submit(self, bundle: Bundle, packet: bytes) -> asyncio.Future[Answer]:
        """Decode a packet in one of the threads. Raises TryLater when the queue is full.

        The future raises what ``Reader.read`` raises, or the EngineError of the run that the frame was in.
        """
        if self.pending >= self._most:
            raise TryLater(f"{self.waiting} frames are waiting already: try later")
        self.pending += 1
        job = Job(bundle, packet, self.networks.company(bundle))
        future = asyncio.wrap_future(job.future)
        future.add_done_callback(self._done)
        self._waiting.put(job)
        if len(self._threads) < self._workers:  # not in __init__: what never serves leaves none behind
            self._threads.append(threading.Thread(target=self._work, name=f"tail_{len(self._threads)}"))
            self._threads[-1].start()
        return future

    def close(self) -> None:
        """Let the threads end with what they are at; what still waits is cancelled."""
        self._waiting.close()

    def _work(self) -> None:
        while (jobs := self._waiting.take()) is not None:
            self._answer(jobs)

    def _answer(self, jobs: list[Job]) -> None:
        read = []
        for job in jobs:
            begin = time.perf_counter()
            try:
                received = self._read(job)
            except Exception as error:  # of this packet alone
                _fail([job], error)
            else:
                read.append((job, received, time.perf_counter() - begin))
        if read:
            self._run(read)

    def _read(self, job: Job) -> Received:
        idle = self._idle[job.bundle.id]
        try:
            reader = idle.get_nowait()
        except Empty:
            reader = _open(job.bundle)
        try:
            return reader.read(job.packet)
        finally:
            idle.put(reader)

    def _run(self, read: list[tuple[Job, Received, float]]) -> None:
        """Run the networks and answer. seconds in ``read``: what decoding each packet took."""
        jobs = [job for job, _, _ in read]
        begin = time.perf_counter()
        try:
            logits = self.networks.run(
                [job.bundle for job in jobs], [received.y_hat for _, received, _ in read]
            )
        except Exception as error:
            _fail(jobs, error)
            return
        tail = time.perf_counter() - begin
        self._on_run(len(jobs))
        for (job, received, decode), row in zip(read, logits, strict=True):
            queue = begin - job.submitted - decode
            seconds = {"queue": queue, "decode": decode, "tail": tail}
            name = job.bundle.manifest.name
            done = received.flags, received.coarseness
            job.future.set_result(Answer(name, row.copy(), *done, seconds, len(jobs)))

    def _done(self, _: asyncio.Future[Answer]) -> None:
        self.pending -= 1


def _fail(jobs: list[Job], error: Exception) -> None:
    """Answer with an error, and let go of what the functions that failed were at: it lives on in cycles with
    those who wait for it, and half-decoded frames would pile up until the garbage collector comes by.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    for job in jobs:
        job.future.set_exception(error)


def _open(bundle: Bundle) -> Reader:
    """A reader that has decoded a packet: whatever is compiled or allocated late has been."""
    reader = Reader(bundle, OPTIONS)
    reader.read(empty_packet(bundle))
    return reader


def empty_packet(bundle: Bundle) -> bytes:
    """The packet whose symbols are all zero."""
    shapes = [shape for shape in (bundle.manifest.latent, bundle.manifest.hyper) if shape]
    prior = open_prior(bundle, EngineOptions(threads=1))
    streams = prior.code(*(np.zeros((1, *shape), np.float32) for shape in shapes))
    encoder = open_coder().encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    push_streams(streams, encoder)
    return Packet(bundle.id, Flags.NONE, encoder.finish()).to_bytes()
