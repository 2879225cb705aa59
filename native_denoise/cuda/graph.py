"""A CUDA graph: launches that are recorded once and repeated by one call, without Python in between.

    graph = capture(handle, record)     # record() queues its work on that stream; none of it runs
    graph.launch(handle)                # all of it, on this or any other stream of the context

A graph keeps the addresses and numbers that the launches were given, not the arrays: whoever replays it keeps
those arrays alive, and finds the new frame's values in them.  The driver is called by cuda-bindings, which
numba-cuda brings; the context is the one that is current.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

from ..errors import BackendUnavailable, CudaGraphError


class Graph:
    """An instantiated graph; make it with ``capture``.  Its handle is released with it, or by ``close``."""

    def __init__(self, driver: ModuleType, executable: Any) -> None:
        self._driver, self._executable = driver, executable
        # Not at exit: by then the driver may be gone, and the process takes its memory with it.
        self._release = weakref.finalize(self, driver.cuGraphExecDestroy, executable)
        self._release.atexit = False

    def launch(self, stream: int) -> None:
        """Queue all recorded work on ``stream``, a raw handle (0: the default stream), without waiting.

        Raises CudaGraphError if the driver refuses, or after ``close``.
        """
        if not self._release.alive:
            raise CudaGraphError("this CUDA graph is closed: capture it again")
        _checked(self._driver, self._driver.cuGraphLaunch(self._executable, stream))

    def close(self) -> None:
        """Release the graph; a launch that is still running finishes first.  Closing twice does nothing."""
        self._release()


def capture(stream: int, record: Callable[[], None]) -> Graph:
    """Record what ``record()`` queues on ``stream``, the raw handle of a stream of its own, not the default.

    Every kernel must have run once before: loading a module may wait for the GPU, which no graph can hold.
    For the same reason ``record`` neither synchronises nor copies from pageable memory.  What it raises is
    raised here, and the stream is usable again.

    Raises CudaGraphError if the driver refuses, BackendUnavailable without cuda-bindings.
    """
    driver = _driver()
    if stream == 0:
        raise CudaGraphError("the default stream cannot be captured: pass the handle of a stream of its own")
    # Relaxed: the stricter modes forbid calls that do no harm here, such as the freeing of another array by
    # a garbage collection in the middle of ``record``.
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    _checked(driver, driver.cuStreamBeginCapture(stream, mode))
    try:
        record()
    except BaseException:
        _abandon(driver, stream)
        raise
    (graph,) = _checked(driver, driver.cuStreamEndCapture(stream))
    try:
        (executable,) = _checked(driver, driver.cuGraphInstantiate(graph, 0))
    finally:
        driver.cuGraphDestroy(graph)
    return Graph(driver, executable)


class Recordings:
    """Graphs of the same launches on different arrays, by what tells those arrays apart.

    What comes for the first time is launched as it is: its kernels may not be loaded yet, and to capture
    costs more than to launch.  The second time it is captured on ``stream``, the raw handle of a stream that
    nobody else uses, and replayed from then on.  Without cuda-bindings it is always launched as it is.
    """

    MOST = 8
    """Graphs that are kept; the oldest goes first."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._graphs: dict[Hashable, Graph | None] = {}

    def replay(self, key: Hashable, stream: int) -> bool:
        """Launch what is recorded for ``key``; False where nothing is yet."""
        graph = self._graphs.get(key)
        if graph is not None:
            graph.launch(stream)
        return graph is not None

    def run(self, key: Hashable, queue: Callable[[int], None], stream: int) -> None:
        """``queue(stream)``, or its replay on ``stream``; for one key ``queue`` always does the same."""
        if self.replay(key, stream):
            return
        if key not in self._graphs:
            queue(stream)
            self._remember(key, None)
            return
        try:
            self._remember(key, capture(self._stream, lambda: queue(self._stream)))
        except BackendUnavailable:
            queue(stream)
            return
        self.replay(key, stream)

    def _remember(self, key: Hashable, graph: Graph | None) -> None:
        self._graphs[key] = graph
        if len(self._graphs) > self.MOST:
            del self._graphs[next(iter(self._graphs))]


def _abandon(driver: ModuleType, stream: int) -> None:
    """End a capture whose outcome does not matter; one that was invalidated has no graph."""
    _, graph = driver.cuStreamEndCapture(stream)
    if graph is not None and int(graph) != 0:
        driver.cuGraphDestroy(graph)


def _driver() -> ModuleType:
    try:
        from cuda.bindings import driver  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise BackendUnavailable(
            f"CUDA graphs need cuda-bindings: pip install 'ratehold[gpu]' ({error})"
        ) from error
    return driver


def _checked(driver: ModuleType, outcome: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a call of the driver returned after its status. Raises CudaGraphError unless it succeeded."""
    status, *values = outcome
    if status != driver.CUresult.CUDA_SUCCESS:
        raise CudaGraphError(f"the CUDA driver refused a graph: {getattr(status, 'name', status)}")
    return tuple(values)
