"""Places where the tasks of a campaign run: this process, several, or Ray. Results come unordered."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from bench.common.errors import BenchError, MissingPackage

Task = TypeVar("Task")
Result = TypeVar("Result")
Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[tuple[Any, Any]]]
"""(function, tasks) -> (task, function(task)) in the order in which they finish. Tasks are drawn one by one,
so a generator makes each, images included, at the last moment."""

AHEAD = 2
"""Tasks of a worker: one that runs, one that waits."""


def in_process(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
    """One after the other, here."""
    for task in tasks:
        yield task, function(task)


def in_processes(workers: int) -> Run:
    """In ``workers`` processes of this machine."""

    def run(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        waiting = iter(tasks)
        # spawn: fork and threads do not mix. SIG_DFL: Ctrl-C ends a worker without a traceback of its own.
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL)
        )
        try:
            running: dict[Future[Any], Any] = {}
            while True:
                for task in islice(waiting, AHEAD * workers - len(running)):
                    running[pool.submit(function, task)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return run


def on_ray(address: str) -> Run:
    """On a Ray cluster, ``local`` for one on this machine; each node needs this package and the bundles.

    Raises MissingPackage without Ray, BenchError when the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers unless told not to
    try:
        import ray
    except ImportError as error:
        raise MissingPackage("--ray needs Ray: pip install 'ratehold[ray]'") from error
    try:
        ray.init(address=address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BenchError(f"Ray at {address}: {error}") from error

    def run(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        waiting, remote = iter(tasks), ray.remote(function)
        running: dict[Any, Any] = {}
        while True:
            ahead = AHEAD * int(ray.cluster_resources().get("CPU", 1))
            for task in islice(waiting, max(0, ahead - len(running))):
                running[remote.remote(task)] = task
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                yield running.pop(reference), ray.get(reference)

    return run
