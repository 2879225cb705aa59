"""A few threads of our own: kernels release the GIL, so no threading layer of Numba is needed.

Numba's layers are not safe to call from several threads (workqueue) or after a fork (GNU OpenMP); a server
does both.  The caller works too, so a call that is not worth sharing never leaves its thread.

Not a ``ThreadPoolExecutor``: its futures and locks cost a call 75 us here, a queue in C costs 6, and a
defended frame takes 700.  What is left is that a sleeping thread takes some 60 us to wake up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

_Job = tuple[Callable[[int], object], int, "SimpleQueue[BaseException | None]"]

_jobs: SimpleQueue[_Job] = SimpleQueue()
_helpers = 0
_growing = threading.Lock()


def available() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(job: Callable[[int], object], count: int) -> None:
    """Run ``job(0) ... job(count - 1)`` at the same time, job(0) here; the first exception is raised.

    Others begin in the order of their numbers, so one may wait for what an earlier one does.
    """
    if count == 1:
        job(0)
        return
    _grow(min(count, available()) - 1)
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    for i in range(1, count):
        _jobs.put((job, i, done))
    try:
        job(0)
    finally:
        failures = [done.get() for _ in range(1, count)]
    for failure in failures:
        if failure is not None:
            raise failure


def _grow(wanted: int) -> None:
    """Have at least ``wanted`` helpers, and one."""
    global _helpers
    if _helpers >= max(wanted, 1):
        return
    with _growing:
        while _helpers < max(wanted, 1):
            threading.Thread(target=_help, args=(_jobs,), name="native_denoise", daemon=True).start()
            _helpers += 1


def _help(jobs: SimpleQueue[_Job]) -> None:
    while True:
        job, i, done = jobs.get()
        failure: BaseException | None = None
        try:
            job(i)
        except BaseException as error:  # raised again by ``share``
            failure = error
        done.put(failure)
        del job, done, failure  # what they refer to may be large, and the next job may be long in coming


def _forget_helpers() -> None:
    """A child process has no threads but its own."""
    global _jobs, _helpers, _growing
    _jobs, _helpers, _growing = SimpleQueue(), 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
