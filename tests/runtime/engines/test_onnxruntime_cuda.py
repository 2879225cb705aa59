"""ONNX Runtime on CUDA, without a GPU: a stand-in for the module records what it is told."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from native_denoise.cuda import device
from runtime.engines import (
    EngineOptions,
    GpuEngine,
    OnnxGraph,
    available,
    missing,
    onnxruntime_cuda,
    open_engine,
)
from runtime.errors import EngineError, EngineUnavailable

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
GRAPH = Path("head.onnx")


class Value:
    def __init__(self, name: str, shape: list[int]):
        self.name, self.shape = name, shape


class Binding:
    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def bind_input(self, *arguments: Any) -> None:
        self.inputs.append(arguments)

    def bind_output(self, *arguments: Any) -> None:
        self.outputs.append(arguments)


class Entries:
    """Session and run options: what is set is kept."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    add_run_config_entry = add_session_config_entry


class Session:
    def __init__(self, path: bytes, options: Entries, providers: list[Any], enable_fallback: int):
        if path == b"broken.onnx":
            raise RuntimeError("no such operator")
        self.options, ((self.provider, self.told),) = options, providers
        self.enable_fallback, self.binding, self.runs = enable_fallback, Binding(), 0
        MODULE.sessions.append(self)

    def get_providers(self) -> list[str]:
        return MODULE.found

    def get_inputs(self) -> list[Value]:
        return [Value("image", [1, 3, 8, 8])]

    def get_outputs(self) -> list[Value]:
        return [Value("y", [1, 6, 2, 2]), Value("z", [1, 2, 1, 1])]

    def io_binding(self) -> Binding:
        return self.binding

    def run(self, names: None, feeds: dict[str, Any]) -> list[Any]:
        if feeds["image"].shape != (1, 3, 8, 8):
            raise RuntimeError("wrong shape")
        return [np.zeros(value.shape, np.float32) for value in self.get_outputs()]

    def run_with_iobinding(self, binding: Binding, options: Entries) -> None:
        assert binding is self.binding
        if MODULE.broken:
            raise RuntimeError("illegal address")
        self.run_options, self.runs = options.entries, self.runs + 1


LEVELS = SimpleNamespace(ORT_DISABLE_ALL=0, ORT_ENABLE_BASIC=1, ORT_ENABLE_EXTENDED=2, ORT_ENABLE_ALL=99)
MODULE: Any = SimpleNamespace(
    __version__="1.32.0", InferenceSession=Session, SessionOptions=Entries, RunOptions=Entries,
    GraphOptimizationLevel=LEVELS, ExecutionMode=SimpleNamespace(ORT_SEQUENTIAL=0),
    get_available_providers=lambda: [CUDA, CPU],
)  # fmt: skip


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    MODULE.sessions, MODULE.found, MODULE.broken = [], [CUDA, CPU], False
    monkeypatch.setitem(sys.modules, "onnxruntime", MODULE)
    monkeypatch.setattr(device.cuda, "is_available", lambda: True)
    monkeypatch.setattr(OnnxGraph, "of_file", lambda path: OnnxGraph(path, path.name.encode()))
    monkeypatch.setattr("runtime.engines.registry.check_graph", lambda graph: None)


def opened() -> Any:
    return open_engine(GRAPH, EngineOptions("onnxruntime-cuda", threads=1))


def test_it_is_an_engine_of_the_gpu() -> None:
    engine = opened()
    assert isinstance(engine, GpuEngine)
    assert engine.inputs == (("image", (1, 3, 8, 8)),) and engine.outputs == ("y", "z")
    assert engine.output_shapes == ((1, 6, 2, 2), (1, 2, 1, 1))
    assert "onnxruntime-cuda" in available()
    engine.warm_up()


def test_arithmetic_is_float32_and_nothing_falls_back() -> None:
    opened()
    (session,) = MODULE.sessions
    assert session.provider == CUDA
    assert session.told["use_tf32"] == "0" and session.told["prefer_nhwc"] == "0"
    assert "enable_cuda_graph" not in session.told and "user_compute_stream" not in session.told
    assert session.enable_fallback == 0
    assert session.options.entries["session.disable_cpu_ep_fallback"] == "1"


def test_bound_runs_go_to_the_given_stream_and_memory() -> None:
    engine = opened()
    engine.bind([4096], [8192, 12288], stream=77)
    for _ in range(3):
        engine.enqueue()
    plain, bound = MODULE.sessions
    assert bound.told == plain.told | {"user_compute_stream": "77", "enable_cuda_graph": "1"}
    assert bound.binding.inputs == [("image", "cuda", 0, np.float32, (1, 3, 8, 8), 4096)]
    assert bound.binding.outputs == [
        ("y", "cuda", 0, np.float32, (1, 6, 2, 2), 8192),
        ("z", "cuda", 0, np.float32, (1, 2, 1, 1), 12288),
    ]
    assert bound.run_options == {"disable_synchronize_execution_providers": "1"}
    assert bound.runs == 3 and plain.runs == 0


@pytest.mark.parametrize("found", [[CPU], [], [CPU, CUDA], [CUDA, "TensorrtExecutionProvider"]])
def test_a_silent_fall_back_is_an_error(found: list[str]) -> None:
    MODULE.found = found
    with pytest.raises(EngineError, match="asked for CUDAExecutionProvider"):
        opened()


def test_failures_are_engine_errors() -> None:
    with pytest.raises(EngineError, match="cannot open it on the GPU"):
        open_engine(Path("broken.onnx"), EngineOptions("onnxruntime-cuda"))
    engine = opened()
    with pytest.raises(EngineError, match="failed"):
        engine.run(np.zeros((1, 3, 5, 5), np.float32))
    with pytest.raises(EngineError, match="bind"):
        engine.enqueue()
    engine.bind([0], [0, 0], stream=1)
    MODULE.broken = True
    with pytest.raises(EngineError, match="illegal address"):
        engine.enqueue()


def test_what_is_missing_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.cuda, "is_available", lambda: False)
    assert "nvidia-smi" in str(missing("onnxruntime-cuda"))
    monkeypatch.setattr(MODULE, "get_available_providers", lambda: [CPU])
    with pytest.raises(EngineUnavailable, match=r"without CUDA: pip install 'ratehold\[gpu\]'"):
        opened()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match="not installed: pip install"):
        opened()
    assert "onnxruntime-cuda" not in available()


def test_the_options_are_strings() -> None:
    """ONNX Runtime takes nothing else."""
    assert all(isinstance(value, str) for value in onnxruntime_cuda.PROVIDER_OPTIONS.values())
