"""A few threads of our own: kernels release the GIL, so no threading layer of Numba is needed.

Numba's layers are not safe to call from several threads (workqueue) or after a fork (GNU OpenMP); a server
does both.  The caller works too, so a call that is not worth sharing never leaves its thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_pool: ThreadPoolExecutor | None = None


def available() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(job: Callable[[int], object], count: int) -> None:
    """Run ``job(0) ... job(count - 1)`` at the same time, job(0) here; the first exception is raised."""
    global _pool
    if count == 1:
        job(0)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(max_workers=max(available(), 1), thread_name_prefix="native_denoise")
    others = [_pool.submit(job, i) for i in range(1, count)]
    try:
        job(0)
    finally:
        failures = [other.exception() for other in others]
    for failure in failures:
        if failure is not None:
            raise failure


def _forget_pool() -> None:
    """A child process has no threads but its own."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
