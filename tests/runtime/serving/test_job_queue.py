"""Which jobs are taken together, and that none is taken twice or left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from runtime.bundle import Bundle, load
from runtime.serving.pool import Job, JobQueue


@pytest.fixture
def bundle(tiny_bundles: dict[str, Path]) -> Bundle:
    return load(tiny_bundles["fp"])


def put(queue: JobQueue, bundle: Bundle, keys: str) -> list[Job]:
    """A job for each letter, its batch key; ``-`` stands for None."""
    jobs = [Job(bundle, b"", None if letter == "-" else letter) for letter in keys]
    for job in jobs:
        queue.put(job)
    return jobs


def taken(queue: JobQueue, jobs: list[Job]) -> list[int]:
    return [jobs.index(job) for job in queue.take() or []]


@pytest.mark.parametrize(
    ("workers", "batch", "keys", "expected"),
    [
        (1, 1, "aaa", [[0], [1], [2]]),
        (1, 4, "aaaaaa", [[0, 1, 2, 3], [4, 5]]),
        (1, 4, "abab", [[0, 2], [1, 3]]),
        (1, 4, "a-a-", [[0, 2], [1], [3]]),
        (2, 4, "aaaa", [[0, 1], [2], [3]]),  # a worker leaves the other one its share
        (2, 4, "a" * 12, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10], [11]]),
    ],
)
def test_the_oldest_job_takes_along_those_with_its_batch_key(
    bundle: Bundle, workers: int, batch: int, keys: str, expected: list[list[int]]
) -> None:
    queue = JobQueue(workers, batch, 0.0)
    jobs = put(queue, bundle, keys)
    assert len(queue) == len(jobs)
    assert [taken(queue, jobs) for _ in expected] == expected and len(queue) == 0


def test_a_frame_waits_until_there_are_enough(bundle: Bundle) -> None:
    queue, found = JobQueue(1, 3, 60.0), list[Job]()
    jobs = put(queue, bundle, "a")
    worker = threading.Thread(target=lambda: found.extend(queue.take() or []), daemon=True)
    worker.start()
    jobs += put(queue, bundle, "ba")
    worker.join(0.05)
    assert worker.is_alive()  # b has another batch key
    jobs += put(queue, bundle, "aa")
    worker.join(10)
    assert found == [jobs[0], jobs[2], jobs[3]] and len(queue) == 2


def test_a_frame_does_not_wait_longer_than_it_may(bundle: Bundle) -> None:
    queue = JobQueue(1, 3, 0.05)
    jobs = put(queue, bundle, "a")
    assert queue.take() == jobs
    alone = JobQueue(1, 3, 60.0)
    jobs = put(alone, bundle, "-")
    assert alone.take() == jobs  # it would wait for nobody


@pytest.mark.parametrize("keys", ["", "aa"])
def test_closing_cancels_what_waits_and_ends_the_wait(bundle: Bundle, keys: str) -> None:
    queue, found = JobQueue(2, 8, 60.0), list[object]()
    jobs = put(queue, bundle, keys)
    workers = [threading.Thread(target=lambda: found.append(queue.take()), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(10)
    assert found == [None, None] and all(job.future.cancelled() for job in jobs) and queue.take() is None


def test_many_workers_take_each_frame_once(bundle: Bundle) -> None:
    queue, found, lock = JobQueue(4, 4, 0.001), list[Job](), threading.Lock()
    jobs = [Job(bundle, b"", "ab"[number % 2]) for number in range(400)]

    def work() -> None:
        while (some := queue.take()) is not None:
            with lock:
                found.extend(some)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for number, job in enumerate(jobs):
        queue.put(job)
        if number == 100:
            for worker in workers:
                worker.start()
    deadline = time.monotonic() + 30
    while len(found) < 400 and time.monotonic() < deadline:
        time.sleep(0.01)
    queue.close()
    for worker in workers:
        worker.join(30)
    assert len(found) == 400 and {id(job) for job in found} == {id(job) for job in jobs}
