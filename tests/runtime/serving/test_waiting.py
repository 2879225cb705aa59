"""Which frames are taken together, and that none is taken twice or left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from runtime.bundle import Bundle, load
from runtime.serving.pool import Job, Waiting


@pytest.fixture
def bundle(tiny_bundles: dict[str, Path]) -> Bundle:
    return load(tiny_bundles["fp"])


def put(waiting: Waiting, bundle: Bundle, companies: str) -> list[Job]:
    """A job for each letter; ``-`` has no company."""
    jobs = [Job(bundle, b"", None if letter == "-" else letter) for letter in companies]
    for job in jobs:
        waiting.put(job)
    return jobs


def taken(waiting: Waiting, jobs: list[Job]) -> list[int]:
    return [jobs.index(job) for job in waiting.take() or []]


@pytest.mark.parametrize(
    ("workers", "batch", "companies", "expected"),
    [
        (1, 1, "aaa", [[0], [1], [2]]),
        (1, 4, "aaaaaa", [[0, 1, 2, 3], [4, 5]]),
        (1, 4, "abab", [[0, 2], [1, 3]]),
        (1, 4, "a-a-", [[0, 2], [1], [3]]),
        (2, 4, "aaaa", [[0, 1], [2], [3]]),  # a worker leaves the other one its share
        (2, 4, "a" * 12, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10], [11]]),
    ],
)
def test_the_oldest_frame_takes_companions_along(
    bundle: Bundle, workers: int, batch: int, companies: str, expected: list[list[int]]
) -> None:
    waiting = Waiting(workers, batch, 0.0)
    jobs = put(waiting, bundle, companies)
    assert len(waiting) == len(jobs)
    assert [taken(waiting, jobs) for _ in expected] == expected and len(waiting) == 0


def test_a_frame_waits_until_there_are_enough(bundle: Bundle) -> None:
    waiting, found = Waiting(1, 3, 60.0), list[Job]()
    jobs = put(waiting, bundle, "a")
    worker = threading.Thread(target=lambda: found.extend(waiting.take() or []))
    worker.start()
    jobs += put(waiting, bundle, "ba")
    worker.join(0.05)
    assert worker.is_alive()  # b is none of its companions
    jobs += put(waiting, bundle, "aa")
    worker.join(10)
    assert found == [jobs[0], jobs[2], jobs[3]] and len(waiting) == 2


def test_a_frame_does_not_wait_longer_than_it_may(bundle: Bundle) -> None:
    waiting = Waiting(1, 3, 0.05)
    jobs = put(waiting, bundle, "a")
    assert waiting.take() == jobs
    alone = Waiting(1, 3, 60.0)
    jobs = put(alone, bundle, "-")
    assert alone.take() == jobs  # it would wait for nobody


@pytest.mark.parametrize("companies", ["", "aa"])
def test_closing_cancels_what_waits_and_ends_the_wait(bundle: Bundle, companies: str) -> None:
    waiting, found = Waiting(2, 8, 60.0), list[object]()
    jobs = put(waiting, bundle, companies)
    workers = [threading.Thread(target=lambda: found.append(waiting.take())) for _ in range(2)]
    for worker in workers:
        worker.start()
    waiting.close()
    for worker in workers:
        worker.join(10)
    assert found == [None, None] and all(job.future.cancelled() for job in jobs) and waiting.take() is None


def test_many_workers_take_each_frame_once(bundle: Bundle) -> None:
    waiting, found, lock = Waiting(4, 4, 0.001), list[Job](), threading.Lock()
    jobs = [Job(bundle, b"", "ab"[number % 2]) for number in range(400)]

    def work() -> None:
        while (some := waiting.take()) is not None:
            with lock:
                found.extend(some)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for number, job in enumerate(jobs):
        waiting.put(job)
        if number == 100:
            for worker in workers:
                worker.start()
    deadline = time.monotonic() + 30
    while len(found) < 400 and time.monotonic() < deadline:
        time.sleep(0.01)
    waiting.close()
    for worker in workers:
        worker.join(30)
    assert len(found) == 400 and {id(job) for job in found} == {id(job) for job in jobs}
