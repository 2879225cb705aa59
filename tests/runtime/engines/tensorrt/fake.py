"""A GPU and TensorRT's Python API without either: streams are queues, addresses name NumPy arrays, engines
compute with ONNX Runtime. Nothing that is queued has happened before its stream is synchronised, and what is
queued while a stream is captured happens when its graph is launched. Calls of TensorRT are noted, in order.
"""

from __future__ import annotations

import enum
import itertools
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime

from native_denoise.cuda import device as cuda_device
from native_denoise.cuda import graph as cuda_graph
from runtime.engines.tensorrt import engine


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class FakeStream:
    def __init__(self, handle: int):
        self.handle, self.queue, self.recording = handle, [], None

    def __int__(self) -> int:
        return self.handle

    def put(self, work: Callable[[], None]) -> None:
        (self.queue if self.recording is None else self.recording).append(work)

    def synchronize(self) -> None:
        assert self.recording is None, "a stream that is captured cannot be waited for"
        for work in self.queue:
            work()
        self.queue.clear()


class FakeArray:
    """An array on the GPU."""

    def __init__(self, gpu: FakeGpu, shape: tuple[int, ...]):
        self.values = np.full(shape, np.nan, np.float32)
        self.address = gpu.place(self.values)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self.address, False)}

    def copy_to_device(self, host: np.ndarray, stream: FakeStream) -> None:
        stream.put(lambda: np.copyto(self.values, host))

    def copy_to_host(self, host: np.ndarray, stream: FakeStream) -> None:
        stream.put(lambda: np.copyto(host, self.values))


class FakeGpu:
    """Stands in for ``numba.cuda`` and for cuda-bindings' driver."""

    CUresult = Status
    CUstreamCaptureMode = types.SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")

    def __init__(self, name: bytes | str = b"Orin", capability: tuple[int, int] = (8, 7)):
        self.name, self.compute_capability = name, capability
        self.there, self.captures, self.fail_capture = True, 0, False
        self._addresses = itertools.count(0x1000, 0x1000)
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, FakeStream] = {}
        self.stream(0)

    # numba.cuda
    def is_available(self) -> bool:
        return self.there

    def get_current_device(self) -> FakeGpu:
        return self

    def stream(self, handle: int | None = None) -> FakeStream:
        stream = FakeStream(len(self.streams) + 70 if handle is None else handle)
        return self.streams.setdefault(stream.handle, stream)

    def pinned_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.full(shape, np.nan, dtype)

    def device_array(self, shape: tuple[int, ...], dtype: Any) -> FakeArray:
        assert dtype == np.float32
        return FakeArray(self, shape)

    def place(self, values: np.ndarray) -> int:
        address = next(self._addresses)
        self.memory[address] = values
        return address

    # cuda.bindings.driver; a graph's handle is the list of what was recorded
    def cuStreamBeginCapture(self, stream: int, mode: str) -> tuple[Any, ...]:
        self.captures += 1
        self.streams[stream].recording = []
        return (Status.CUDA_SUCCESS,)

    def cuStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        recorded, self.streams[stream].recording = self.streams[stream].recording, None
        if self.fail_capture:
            return Status.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        return Status.CUDA_SUCCESS, recorded

    def cuGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        return Status.CUDA_SUCCESS, graph

    def cuGraphLaunch(self, graph: Any, stream: int) -> tuple[Any, ...]:
        for work in graph:
            self.streams[stream].put(work)
        return (Status.CUDA_SUCCESS,)

    def cuGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        return (Status.CUDA_SUCCESS,)

    cuGraphExecDestroy = cuGraphDestroy


class FakeTensorRt(types.ModuleType):
    """The module ``tensorrt``; version 10.3 has EXPLICIT_BATCH and FP16, 11 has neither, nor STRONGLY_TYPED.

    parse_errors, build_error, refuses: make parsing, building, and loading any plan fail.
    """

    def __init__(self, gpu: FakeGpu, version: str = "10.3.0"):
        super().__init__("tensorrt")
        self.__version__, self.gpu, self.calls = version, gpu, []
        self.parse_errors, self.build_error, self.refuses = [], "", 0
        self.refuses_measurements = self.refuses_addresses = self.fails_to_run = False
        old = int(version.split(".")[0]) < 11
        self.NetworkDefinitionCreationFlag = _flags("EXPLICIT_BATCH", "STRONGLY_TYPED") if old else _flags()
        self.BuilderFlag = _flags("FP16", "INT8", "TF32") if old else _flags("TF32")
        self.MemoryPoolType, self.DataType = _flags("WORKSPACE"), _flags("FLOAT", "HALF")
        self.ILogger = type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2})
        self.IProgressMonitor = type("IProgressMonitor", (), {})
        self.Builder = lambda logger: FakeBuilder(self, logger)
        self.OnnxParser = lambda network, logger: FakeParser(self, network)
        self.Runtime = lambda logger: FakeRuntime(self, logger)

    def note(self, *call: Any) -> None:
        self.calls.append(call)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == name]


def _flags(*names: str) -> Any:
    return types.SimpleNamespace(**{name: number for number, name in enumerate(names)})


class FakeBuilder:
    def __init__(self, trt: FakeTensorRt, logger: Any):
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int) -> FakeNetwork:
        self.trt.note("create_network", flags)
        return FakeNetwork()

    def create_builder_config(self) -> FakeConfig:
        return FakeConfig(self.trt)

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig) -> bytes | None:
        self.trt.note("build")
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Tactics", None, 2)
            assert config.progress_monitor.step_complete("Tactics", 0) is True
            config.progress_monitor.phase_finish("Tactics")
        if self.trt.build_error:
            self.logger.log(self.trt.ILogger.WARNING, "only a warning")
            self.logger.log(self.trt.ILogger.ERROR, self.trt.build_error)
            return None
        tied = json.dumps([self.trt.__version__, str(self.trt.gpu.name)]).encode()
        return tied + b"\n" + network.onnx


class FakeNetwork:
    onnx = b""

    @property
    def _graph(self) -> Any:
        return onnx.load_from_string(self.onnx).graph

    num_inputs = property(lambda self: len(self._graph.input))
    num_outputs = property(lambda self: len(self._graph.output))

    def get_input(self, number: int) -> Any:
        return self._graph.input[number]

    def get_output(self, number: int) -> Any:
        return self._graph.output[number]


class FakeParser:
    def __init__(self, trt: FakeTensorRt, network: FakeNetwork):
        self.trt, self.network = trt, network

    num_errors = property(lambda self: len(self.trt.parse_errors))

    def parse(self, model: bytes) -> bool:
        self.trt.note("parse")
        self.network.onnx = model
        return not self.trt.parse_errors

    def get_error(self, number: int) -> str:
        return self.trt.parse_errors[number]


class FakeConfig:
    progress_monitor = None
    builder_optimization_level = None

    def __init__(self, trt: FakeTensorRt):
        self.trt = trt

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        assert pool == self.trt.MemoryPoolType.WORKSPACE
        self.trt.note("workspace", size)

    def clear_flag(self, flag: int) -> None:
        assert flag == self.trt.BuilderFlag.TF32
        self.trt.note("clear TF32")

    def create_timing_cache(self, known: bytes) -> FakeTiming | None:
        self.trt.note("create_timing_cache", known)
        return None if self.trt.refuses_measurements and known else FakeTiming(self.trt, known)

    def set_timing_cache(self, cache: FakeTiming, ignore_mismatch: bool) -> bool:
        self.trt.note("set_timing_cache", ignore_mismatch)
        return True


class FakeTiming:
    def __init__(self, trt: FakeTensorRt, known: bytes):
        self.trt, self.known = trt, known

    def serialize(self) -> bytes:
        self.trt.note("serialize_timing")
        return self.known + b"measured."


class FakeRuntime:
    def __init__(self, trt: FakeTensorRt, logger: Any):
        self.trt, self.logger = trt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        self.trt.note("deserialize")
        tied, _, graph = plan.partition(b"\n")
        assert json.loads(tied) == [self.trt.__version__, str(self.trt.gpu.name)], (
            "another device's code was loaded"
        )
        if self.trt.refuses:
            self.trt.refuses -= 1
            self.logger.log(self.trt.ILogger.ERROR, "plan refused")
            return None
        return FakeEngine(self.trt, graph)


class FakeEngine:
    """Lists outputs before inputs, and both backwards: names count, not numbers."""

    def __init__(self, trt: FakeTensorRt, graph: bytes):
        self.trt = trt
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self._shapes = {tensor.name: tuple(tensor.shape) for tensor in reversed(tensors)}

    num_io_tensors = property(lambda self: len(self._shapes))

    def get_tensor_name(self, number: int) -> str:
        return list(self._shapes)[number]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get_tensor_dtype(self, name: str) -> int:
        return self.trt.DataType.FLOAT

    def create_execution_context(self) -> FakeContext:
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine):
        self.engine, self.trt, self.addresses = engine, engine.trt, {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.trt.note("set_tensor_address", name, address)
        self.addresses[name] = address
        return not self.trt.refuses_addresses

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.trt.note("execute", stream_handle)
        at = {name: self.trt.gpu.memory[address] for name, address in self.addresses.items()}
        session = self.engine.session

        def compute() -> None:
            results = session.run(None, {i.name: at[i.name] for i in session.get_inputs()})
            for output, result in zip(session.get_outputs(), results, strict=True):
                np.copyto(at[output.name], result)

        self.trt.gpu.streams[stream_handle].put(compute)
        return not self.trt.fails_to_run


def install(monkeypatch: Any, cache: Any, trt: FakeTensorRt) -> FakeTensorRt:
    """Make the TensorRT engine see this TensorRT and its GPU, and keep its plans in ``cache``."""
    monkeypatch.setenv("RATEHOLD_CACHE", str(cache))
    monkeypatch.setattr(engine, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(cuda_device, "cuda", trt.gpu)
    monkeypatch.setattr(cuda_graph, "_driver", lambda: trt.gpu)
    return trt
