"""Capture and replay with a driver that is only a protocol of calls: order, errors, release of handles.  That
a graph computes what its launches do is for ``pytest -m gpu`` (cuda_cases.py).
"""

import enum
import gc
import sys
import types

import pytest

from native_denoise.cuda import graph
from native_denoise.errors import BackendUnavailable, CudaGraphError

STREAM = 77


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class FakeDriver:
    """Hands out handles, notes calls, and fails where ``failing`` says."""

    CUresult = Status
    CUstreamCaptureMode = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")

    def __init__(self, failing=None):
        self.failing, self.calls, self.alive = failing, [], set()

    def _make(self, call, first):
        handle = first + sum(earlier[0] == call[0] for earlier in self.calls)
        self.calls.append(call)
        if self.failing == call[0]:
            return Status.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        self.alive.add(handle)
        return Status.CUDA_SUCCESS, handle

    def _do(self, call, *released):
        self.calls.append(call)
        self.alive -= set(released)
        failed = self.failing == call[0]
        return ((Status.CUDA_ERROR_INVALID_VALUE if failed else Status.CUDA_SUCCESS),)

    def cuStreamBeginCapture(self, stream, mode):
        return self._do(("begin", stream, mode))

    def cuStreamEndCapture(self, stream):
        return self._make(("end", stream), 1001)

    def cuGraphInstantiate(self, graph, flags):
        return self._make(("instantiate", graph, flags), 2002)

    def cuGraphLaunch(self, executable, stream):
        assert executable in self.alive
        return self._do(("launch", executable, stream))

    def cuGraphDestroy(self, graph):
        assert graph in self.alive
        return self._do(("destroy graph", graph), graph)

    def cuGraphExecDestroy(self, executable):
        assert executable in self.alive
        return self._do(("destroy executable", executable), executable)


@pytest.fixture
def driver(monkeypatch):
    def install(failing=None):
        fake = FakeDriver(failing)
        monkeypatch.setattr(graph, "_driver", lambda: fake)
        return fake

    return install


def test_work_is_recorded_between_begin_and_end_and_only_the_executable_is_kept(driver):
    fake = driver()
    captured = graph.capture(STREAM, lambda: fake.calls.append(("work",)))
    assert fake.calls == [
        ("begin", STREAM, "relaxed"), ("work",), ("end", STREAM), ("instantiate", 1001, 0),
        ("destroy graph", 1001),
    ]  # fmt: skip
    assert fake.alive == {2002}
    captured.launch(STREAM)
    captured.launch(0)
    assert fake.calls[-2:] == [("launch", 2002, STREAM), ("launch", 2002, 0)]


def test_the_executable_is_released_once(driver):
    fake = driver()
    captured = graph.capture(STREAM, lambda: None)
    captured.close()
    captured.close()
    with pytest.raises(CudaGraphError, match="closed"):
        captured.launch(STREAM)
    del captured
    gc.collect()
    assert fake.alive == set()
    assert fake.calls.count(("destroy executable", 2002)) == 1


def test_a_forgotten_graph_is_released(driver):
    fake = driver()
    graph.capture(STREAM, lambda: None)
    gc.collect()
    assert fake.alive == set()


@pytest.mark.parametrize("failing", ["begin", "end", "instantiate"])
def test_a_refusal_names_its_code_and_leaves_nothing_behind(driver, failing):
    fake = driver(failing)
    with pytest.raises(CudaGraphError, match="CUDA_ERROR"):
        graph.capture(STREAM, lambda: None)
    assert fake.alive == set()


def test_a_refused_launch_is_an_error_and_the_graph_stays(driver):
    fake = driver("launch")
    captured = graph.capture(STREAM, lambda: None)
    with pytest.raises(CudaGraphError, match="INVALID_VALUE"):
        captured.launch(STREAM)
    assert fake.alive == {2002}
    captured.close()


@pytest.mark.parametrize("failing", [None, "end"])
def test_what_the_recording_raises_is_raised_after_the_capture_has_ended(driver, failing):
    fake = driver(failing)

    def record():
        raise KeyError("launch")

    with pytest.raises(KeyError):
        graph.capture(STREAM, record)
    assert ("end", STREAM) in fake.calls
    assert fake.alive == set()


def test_the_default_stream_is_refused(driver):
    fake = driver()
    with pytest.raises(CudaGraphError, match="stream of its own"):
        graph.capture(0, lambda: None)
    assert fake.calls == []


def test_recordings_launch_first_capture_second_and_replay_from_then_on(driver):
    fake = driver()
    queued = []
    recordings = graph.Recordings(STREAM)
    for _ in range(4):
        recordings.run("a", queued.append, 5)
    # As it is on the caller's stream, then once more on the private one, for the capture.
    assert queued == [5, STREAM]
    assert [call[0] for call in fake.calls if call[0] in ("begin", "launch")] == ["begin", *["launch"] * 3]
    assert all(call[2] == 5 for call in fake.calls if call[0] == "launch")
    recordings.run("b", queued.append, 6)
    assert queued == [5, STREAM, 6]


def test_recordings_forget_the_oldest_graph(driver):
    fake = driver()
    recordings = graph.Recordings(STREAM)
    for key in range(graph.Recordings.MOST + 1):
        recordings.run(key, lambda stream: None, 5)
        recordings.run(key, lambda stream: None, 5)
    gc.collect()
    assert fake.alive == set(range(2003, 2002 + graph.Recordings.MOST + 1))


def test_recordings_launch_as_they_are_without_the_binding(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    queued = []
    recordings = graph.Recordings(STREAM)
    for _ in range(3):
        recordings.run("a", queued.append, 5)
    assert queued == [5, 5, 5]


def test_the_binding_has_every_call_that_is_made():
    driver = pytest.importorskip("cuda.bindings.driver")
    called = {name for name in vars(FakeDriver) if name.startswith("cu")}
    assert called <= set(dir(driver))
    assert hasattr(driver.CUstreamCaptureMode, "CU_STREAM_CAPTURE_MODE_RELAXED")
    assert hasattr(driver.CUresult, "CUDA_SUCCESS")


def test_without_the_binding_the_error_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(BackendUnavailable, match="pip install"):
        graph.capture(STREAM, lambda: None)
