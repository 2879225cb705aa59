"""Frames that wait for a worker, and which of them are taken together."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from runtime.bundle import Bundle
from runtime.serving.answer import Answer


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
