"""TensorRT: a graph is built once on the device that runs it, kept in the plan cache, enqueued on a stream.

Tested without a GPU: every graph is parsed and built by TensorRT for RTX, and this code against a fake of the
Python API in its 10.3 and 11 forms. **No plan has been executed yet** (docs/tensorrt.md).
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engines.base import EngineOptions, GpuEngine
from runtime.engines.graph import OnnxGraph
from runtime.engines.tensorrt.binding import Binding, HostBinding
from runtime.engines.tensorrt.build import LEVELS, BuildSettings, build, logger_of, reasons
from runtime.engines.tensorrt.plan_cache import Key, Plan, PlanCache
from runtime.errors import EngineError, EngineUnavailable

ON_JETSON = (
    "on a Jetson it comes with JetPack: apt-get install nvidia-jetpack nvidia-l4t-dla-compiler, and make the "
    "virtual environment with --system-site-packages"
)
ELSEWHERE = "elsewhere: pip install tensorrt 'ratehold[tensorrt]' --extra-index-url https://pypi.nvidia.com"


def missing() -> str | None:
    """Why TensorRT cannot run here, and the cure; None when it can."""
    try:
        import_tensorrt()
    except (ImportError, OSError) as error:  # OSError: a library that it links to is not there
        return f"TensorRT cannot be imported ({error}); {ON_JETSON}; {ELSEWHERE}"
    try:
        from native_denoise.cuda.device import cuda
    except ImportError as error:
        return f"Numba cannot be imported ({error}), which finds the GPU: pip install 'ratehold[jetson]'"
    return None if cuda.is_available() else "no NVIDIA GPU with a working driver was found (try nvidia-smi)"


def import_tensorrt() -> Any:
    """The module ``tensorrt``, imported when it is first asked for."""
    return import_module("tensorrt")


def open_graph(graph: Path, options: EngineOptions) -> GpuEngine:
    """``open_bytes`` for an ONNX file."""
    return open_bytes(OnnxGraph.of_file(graph).model, str(graph), options)


def open_bytes(model: bytes, name: str, options: EngineOptions) -> GpuEngine:
    """Open a graph: load its plan, or build it where there is none for this graph, device and version.

    Raises EngineUnavailable (what is not installed) or EngineError (what TensorRT says).
    """
    reason = missing()
    if reason is not None:
        raise EngineUnavailable(reason)
    trt = import_tensorrt()
    settings = BuildSettings(LEVELS[options.optimisation])
    gpu, capability = current_gpu()
    key = Key(
        hashlib.sha256(model).hexdigest(), trt.__version__, platform.machine(), gpu, capability,
        settings.level, settings.workspace_bytes,
    )  # fmt: skip
    plan, engine = _load_or_build(trt, model, Path(name).name, settings, PlanCache(), key)
    return TensorRt(engine, plan, gpu, trt)


def current_gpu() -> tuple[str, tuple[int, int]]:
    """Name and compute capability of the GPU that is current in this thread."""
    from native_denoise.cuda.device import cuda, gpu_name

    major, minor = cuda.get_current_device().compute_capability
    return gpu_name(), (int(major), int(minor))


def _load_or_build(
    trt: Any, onnx: bytes, name: str, settings: BuildSettings, cache: PlanCache, key: Key
) -> tuple[Plan, Any]:
    plan = cache.plan(key)
    if plan is not None:
        engine = _deserialise(trt, plan)
        if engine is not None:
            return plan, engine
    plan, measured = build(trt, onnx, name, settings, cache.timing(key))
    cache.keep_timing(key, measured)
    cache.keep_plan(key, plan)
    engine = _deserialise(trt, plan)
    if engine is None:
        raise EngineError(f"{name}: TensorRT cannot load what it has just built: {reasons(trt)}")
    return plan, engine


def _deserialise(trt: Any, plan: Plan) -> Any:
    """The engine, or None where TensorRT refuses the plan."""
    return trt.Runtime(logger_of(trt)).deserialize_cuda_engine(plan.engine)


class TensorRt:
    """A TensorRT engine; a ``GpuEngine``. Not thread-safe: use one a thread.

    ``run`` and ``bind`` have an execution context each, so that neither disturbs the addresses of the other.
    """

    precision = "float32"  # of the graph that the plan was made from; see runtime.engines.precision

    def __init__(self, engine: Any, plan: Plan, device: str, trt: Any):
        self._engine, self._trt = engine, trt
        self.device = device
        shapes = self._shapes()
        if set(shapes) != {*plan.inputs, *plan.outputs}:
            found = ", ".join(sorted(shapes))
            raise EngineError(f"the plan is not this graph's: its inputs and outputs are {found}")
        self.inputs = tuple((name, shapes[name]) for name in plan.inputs)
        self.outputs = plan.outputs
        self.output_shapes = tuple(shapes[name] for name in plan.outputs)
        self._host: HostBinding | None = None
        self._bound: Binding | None = None

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run once on arrays of the host; see ``Engine.run``."""
        for array, (name, shape) in zip(inputs, self.inputs, strict=True):
            if array.shape != shape:
                raise EngineError(f"TensorRT failed: {name} is {array.shape}, the graph takes {shape}")
        if self._host is None:
            self._host = HostBinding(self._context(), dict(self.inputs), self._output_shapes(), self._trt)
        return self._host.run(inputs)

    def warm_up(self) -> None:
        """Run on zeros twice: TensorRT allocates in the first run, the second is recorded as a CUDA graph."""
        zeros = [np.zeros(shape, np.float32) for _, shape in self.inputs]
        self.run(*zeros)
        self.run(*zeros)

    def bind(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        """See ``GpuEngine.bind``."""
        names = [name for name, _ in self.inputs]
        addresses = dict(zip(names, inputs, strict=True)) | dict(zip(self.outputs, outputs, strict=True))
        self._bound = Binding(self._context(), addresses, stream, self._trt)

    def enqueue(self) -> None:
        """See ``GpuEngine.enqueue``; the second run is recorded as a CUDA graph, later ones replay it."""
        if self._bound is None:
            raise EngineError("enqueue() needs the addresses of bind() first")
        self._bound.enqueue()

    def _context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"TensorRT cannot make an execution context: {reasons(self._trt)}")
        return context

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(zip(self.outputs, self.output_shapes, strict=True))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every input and output. Raises EngineError for what no graph of a bundle has."""
        shapes = {}
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            shape = tuple(int(side) for side in self._engine.get_tensor_shape(name))
            if self._engine.get_tensor_dtype(name) != self._trt.DataType.FLOAT or any(n < 1 for n in shape):
                raise EngineError(f"{name}: inputs and outputs must be float32 of a fixed shape, not {shape}")
            shapes[name] = shape
        return shapes
