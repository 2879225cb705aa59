"""Worker threads behind a bounded queue of jobs: packets -> outputs, several frames in one run of the tail.

A job waits for others with its batch key only where the server is told to (``batch_wait``): a free worker
takes what is there. So batches form where jobs wait anyway, and shorten the queue. A full queue is reported
at once, and bounds the wait of a job: (queue / workers + 1) frames.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from weakref import WeakKeyDictionary

import numpy as np

from runtime.bundle import Bundle
from runtime.codec.coder import open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import EngineError, TryLater
from runtime.prior import open_prior
from runtime.prior.base import push_streams
from runtime.serving.networks import OPTIONS, Networks
from runtime.serving.protocol import Answer
from runtime.tail import PacketReader, Received


@dataclass(frozen=True, eq=False)
class Job:
    """A packet to decode.

    batch_key: jobs with the same key may share a run of the tail; None: this one has a run of its own.
    submitted: ``time.perf_counter()`` when the pool accepted it.
    """

    bundle: Bundle
    packet: bytes
    batch_key: str | None
    submitted: float = field(default_factory=time.perf_counter)
    future: Future[Answer] = field(default_factory=Future)


@dataclass(frozen=True)
class DecodedJob:
    """A job whose packet has been decoded; seconds: what the decoding took."""

    job: Job
    received: Received
    seconds: float


class JobQueue:
    """First in, first out, except that the oldest job takes along others with its batch key. Thread-safe.

    Args:
        workers: threads that take. Each leaves the others their share, so that none stays idle.
        batch: most jobs that are taken together.
        wait: seconds that a job waits for others at most, from when it was submitted. 0: it does not wait.
    """

    def __init__(self, workers: int, batch: int, wait: float):
        self._workers, self._batch, self._wait = workers, batch, wait
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Add a job at the end."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def take(self) -> list[Job] | None:
        """The oldest job and others with its batch key, waited for; None once the queue is closed."""
        with self._turn, self._changed:  # one worker waits; the next one's turn comes after it
            while not self._jobs and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            first = self._jobs[0]
            end = first.submitted + self._wait
            while self._share(first) < self._batch and first.batch_key is not None:
                left = end - time.perf_counter()
                if left <= 0:
                    break
                self._changed.wait(left)
                if self._closed:
                    return None
            taken = self._alike(first)[: self._share(first)]
            self._jobs = [job for job in self._jobs if job not in taken]
        return [job for job in taken if job.future.set_running_or_notify_cancel()]

    def remove(self, job: Job) -> bool:
        """Cancel a job that still waits; False where a worker has begun with it."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                return job.future.cancel()
        return False

    def close(self) -> None:
        """Cancel the jobs that wait, and let the workers go."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs = []
            self._changed.notify()

    def _alike(self, first: Job) -> list[Job]:
        if first.batch_key is None:
            return [first]
        return [job for job in self._jobs if job.batch_key == first.batch_key]

    def _share(self, first: Job) -> int:
        return min(self._batch, -(-len(self._alike(first)) // self._workers))


class Readers:
    """Readers of several bundles, one of each for each worker. Thread-safe.

    All open at the start: a bundle that is replaced on disk afterwards costs no frame.
    """

    def __init__(self, bundles: list[Bundle], workers: int = 1):
        self._idle: dict[bytes, SimpleQueue[PacketReader]] = {bundle.id: SimpleQueue() for bundle in bundles}
        for bundle in bundles:
            for _ in range(workers):
                self._idle[bundle.id].put(_warm_reader(bundle))

    def read(self, bundle: Bundle, packet: bytes) -> Received:
        """Decode one packet; raises what ``PacketReader.read`` raises."""
        idle = self._idle[bundle.id]
        reader = idle.get()
        try:
            return reader.read(packet)
        finally:
            idle.put(reader)


class Pool:
    """Decodes packets in worker threads. Only the event loop's thread may call ``submit``.

    Args:
        bundles: bundles that the pool decodes; those with the same tail share runs of it.
        workers: threads.
        queue: jobs that may wait for a worker.
        batch: most frames in one run of the tail.
        batch_wait: seconds that a job waits at most for others with its batch key.
        on_run: called with the number of frames after each run of a tail, in a worker's thread.

    Attributes:
        networks: restore and tail of all bundles.
        readers: everything before them.
        pending: jobs accepted and not yet answered.
    """

    def __init__(
        self,
        bundles: list[Bundle],
        workers: int,
        queue: int,
        batch: int = 1,
        batch_wait: float = 0.0,
        on_run: Callable[[int], None] = lambda _: None,
    ):
        self.pending = self._hired = 0
        self.networks, self.readers = Networks(bundles, batch), Readers(bundles, workers)
        self._workers, self._most, self._on_run = workers, workers + queue, on_run
        self._threads: list[threading.Thread] = []
        self._jobs: WeakKeyDictionary[asyncio.Future[Answer], Job] = WeakKeyDictionary()
        self._queue = JobQueue(workers, batch, batch_wait)
        for bundle in bundles:
            latent = self.readers.read(bundle, empty_packet(bundle)).y_hat
            frames = 1 if self.networks.batch_key(bundle) is None else batch
            self.networks.run([bundle] * frames, [latent] * frames)  # allocates what the largest run needs

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker; a job that a free worker is about to take does not count."""
        return min(len(self._queue), max(0, self.pending - self._workers))

    @property
    def longest_wait(self) -> float:
        """Seconds since the oldest job without an answer was accepted; 0 where there is none."""
        unanswered = [job.submitted for job in self._jobs.values() if not job.future.done()]
        return time.perf_counter() - min(unanswered, default=time.perf_counter())

    def submit(self, bundle: Bundle, packet: bytes) -> asyncio.Future[Answer]:
        """Decode a packet in one of the threads. Raises TryLater when the queue is full.

        The future raises what ``PacketReader.read`` raises, or the EngineError of the frame's run.
        """
        if self.pending >= self._most:
            raise TryLater(f"{self.waiting} frames are waiting already: try later")
        if not self.staffed(hire=True):
            raise TryLater("no worker can be started at the moment: try later")
        self.pending += 1
        job = Job(bundle, packet, self.networks.batch_key(bundle))
        future = asyncio.wrap_future(job.future)
        future.add_done_callback(self._done)
        self._jobs[future] = job
        self._queue.put(job)
        return future

    def withdraw(self, future: asyncio.Future[Answer]) -> None:
        """Cancel a job that nobody waits for, unless a worker has begun with it."""
        job = self._jobs.get(future)
        if job is not None and self._queue.remove(job):
            future.cancel()

    def staffed(self, hire: bool = False) -> bool:
        """Whether a worker lives. Those that have died are replaced; ``hire``: starts one more at need.

        A pool that never serves leaves no thread, so it counts as staffed before its first job.
        """
        self._hired = min(self._workers, self._hired + hire)
        alive = [thread for thread in self._threads if thread.is_alive()]
        with suppress(RuntimeError):  # the system gives no further thread
            while len(alive) < self._hired:
                thread = threading.Thread(target=self._work, name=f"tail_{len(alive)}")
                thread.start()
                alive.append(thread)
        self._threads = alive
        return bool(alive) or not self._hired

    def close(self) -> None:
        """Let the threads end after their current jobs, and cancel the jobs that wait."""
        self._queue.close()

    def _work(self) -> None:
        while (jobs := self._queue.take()) is not None:
            try:
                self._answer(jobs)
            except BaseException as error:  # whatever it is, nobody waits for an answer that does not come
                _fail([job for job in jobs if not job.future.done()], error)
            jobs = []  # a worker that waits keeps no frame

    def _answer(self, jobs: list[Job]) -> None:
        decoded = []
        for job in jobs:
            begin = time.perf_counter()
            try:
                received = self.readers.read(job.bundle, job.packet)
            except Exception as error:  # it concerns this packet alone
                _fail([job], error)
            else:
                decoded.append(DecodedJob(job, received, time.perf_counter() - begin))
        if decoded:
            self._run(decoded)

    def _run(self, decoded: list[DecodedJob]) -> None:
        """Run the networks once for all jobs, and answer each."""
        begin = time.perf_counter()
        try:
            outputs = self.networks.run(
                [one.job.bundle for one in decoded], [one.received.y_hat for one in decoded]
            )
        except Exception as error:
            _fail([one.job for one in decoded], error)
            return
        tail = time.perf_counter() - begin
        self._on_run(len(decoded))
        for one, row in zip(decoded, outputs, strict=True):
            queue = begin - one.job.submitted - one.seconds
            answer = Answer(
                one.job.bundle.manifest.name, one.job.bundle.task, row.copy(), one.received.flags,
                one.received.coarseness,
                {"queue": queue, "decode": one.seconds, "tail": tail}, len(decoded),
            )  # fmt: skip
            one.job.future.set_result(answer)

    def _done(self, _: asyncio.Future[Answer]) -> None:
        self.pending -= 1


def empty_packet(bundle: Bundle) -> bytes:
    """The packet whose symbols are all zero."""
    shapes = [shape for shape in (bundle.manifest.latent, bundle.manifest.hyper) if shape]
    prior = open_prior(bundle, EngineOptions(threads=1))
    streams = prior.code(*(np.zeros((1, *shape), np.float32) for shape in shapes))
    encoder = open_coder().encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    push_streams(streams, encoder)
    return Packet(bundle.id, Flags.NONE, encoder.finish()).to_bytes()


def _warm_reader(bundle: Bundle) -> PacketReader:
    """A reader that has decoded a packet: nothing is left to be compiled or allocated."""
    reader = PacketReader(bundle, OPTIONS)
    reader.read(empty_packet(bundle))
    return reader


def _fail(jobs: list[Job], error: BaseException) -> None:
    """Answer with an error, and clear the frames of its traceback.

    An error lives on in reference cycles with those who wait for it; half-decoded frames in its traceback
    would pile up until the garbage collector runs.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    if not isinstance(error, Exception) or isinstance(error, StopIteration):  # no future takes these
        error = EngineError(f"the worker failed: {type(error).__name__}: {error}")
    for job in jobs:
        job.future.set_exception(error)
