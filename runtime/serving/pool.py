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
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from runtime.bundle import Bundle
from runtime.codec.coder import open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import TryLater
from runtime.prior import open_prior
from runtime.prior.base import push_streams
from runtime.serving.networks import OPTIONS, Networks
from runtime.serving.protocol import Answer
from runtime.tail import PacketReader, Received


@dataclass(frozen=True, eq=False)
class Job:
    """A packet to decode.

    company: jobs with the same may be taken together; None: this one goes alone.
    submitted: ``time.perf_counter()`` when it was accepted.
    """

    bundle: Bundle
    packet: bytes
    company: str | None
    submitted: float = field(default_factory=time.perf_counter)
    future: Future[Answer] = field(default_factory=Future)


class Waiting:
    """First in, first out, but that a frame takes its companions along. Thread-safe.

    Args:
        workers: that take: each leaves the others their share, so that none is idle while one has a batch.
        batch: most frames that are taken together.
        seconds: longest that a frame waits for companions, from when it was submitted. 0: it does not.
    """

    def __init__(self, workers: int, batch: int, seconds: float):
        self._workers, self._batch, self._seconds = workers, batch, seconds
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Let a frame wait."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def take(self) -> list[Job] | None:
        """The oldest frame and its companions, once there is one; None when it was closed."""
        with self._turn, self._changed:  # one worker waits; the next one's turn comes after it
            while not self._jobs and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            first = self._jobs[0]
            end = first.submitted + self._seconds
            while self._share(first) < self._batch and first.company is not None:
                left = end - time.perf_counter()
                if left <= 0:
                    break
                self._changed.wait(left)
                if self._closed:
                    return None
            taken = self._alike(first)[: self._share(first)]
            self._jobs = [job for job in self._jobs if job not in taken]
        return [job for job in taken if job.future.set_running_or_notify_cancel()]

    def close(self) -> None:
        """Cancel what waits."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs = []
            self._changed.notify()

    def _alike(self, first: Job) -> list[Job]:
        if first.company is None:
            return [first]
        return [job for job in self._jobs if job.company == first.company]

    def _share(self, first: Job) -> int:
        return min(self._batch, -(-len(self._alike(first)) // self._workers))


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
        self._idle: dict[bytes, SimpleQueue[PacketReader]] = {bundle.id: SimpleQueue() for bundle in bundles}
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

        The future raises what ``PacketReader.read`` raises, or the EngineError of the frame's run.
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


def _open(bundle: Bundle) -> PacketReader:
    """A reader that has decoded a packet: whatever is compiled or allocated late has been."""
    reader = PacketReader(bundle, OPTIONS)
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
