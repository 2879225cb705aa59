"""ONNX bytes -> a serialised TensorRT engine, for the GPU that it is built on.

Networks are strongly typed: the graph says the precision of each tensor, and TensorRT chooses kernels only.
TF32 is always off: it would round what a float32 convolution reads to 10 bits of mantissa, and h_s is exact
only without it. A head that may be less exact has a graph of its own, in half precision.

What came after TensorRT 10.3 (JetPack 6), or went before 11, is looked for before it is used.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.engines.base import Optimisation
from runtime.engines.tensorrt.plan_cache import Plan
from runtime.errors import EngineError

LEVELS: dict[Optimisation, int] = {"disabled": 0, "basic": 1, "extended": 2, "all": 3}
"""TensorRT's builder level; 3 is its own default, 4 and 5 build for much longer."""

BETWEEN_LINES = 1.0  # seconds between two lines of progress


@dataclass(frozen=True)
class BuildSettings:
    """How to build; what a plan's key names besides graph, version and device.

    level: TensorRT's builder optimisation level, 0..3; higher builds longer and may run faster.
    workspace_bytes: the most scratch memory that a kernel may ask for.
    """

    level: int = LEVELS["all"]
    workspace_bytes: int = 256 << 20


def build(
    trt: Any, graph: bytes, name: str, settings: BuildSettings, timing: bytes | None
) -> tuple[Plan, bytes]:
    """Build a graph; takes seconds on a large GPU and minutes on a small board, with progress on stderr.

    Args:
        trt: the module ``tensorrt``.
        graph: an ONNX file's bytes; name: what to call it in messages.
        timing: what earlier builds measured, empty at first; None builds without such a cache.

    Returns:
        The plan, and what has been measured by now (empty without a timing cache).

    Raises:
        EngineError: TensorRT cannot parse or build it; every reason that it gave is in the message.
    """
    builder = trt.Builder(logger_of(trt))
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, graph, name)
    config = builder.create_builder_config()
    _configure(trt, config, settings)
    cache = None if timing is None else _timing_cache(config, timing)
    _show_progress(trt, config, name)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        raise EngineError(f"{name}: TensorRT {trt.__version__} cannot build it: {reasons(trt)}")
    inputs = tuple(network.get_input(i).name for i in range(network.num_inputs))
    outputs = tuple(network.get_output(i).name for i in range(network.num_outputs))
    return Plan(inputs, outputs, bytes(serialised)), b"" if cache is None else bytes(cache.serialize())


@functools.lru_cache(maxsize=1)
def logger_of(trt: Any) -> Any:
    """TensorRT's logger: it keeps errors until ``reasons`` takes them, and is silent otherwise.

    One for the process: TensorRT keeps using the first that it was given, whatever comes later.
    """

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def reasons(trt: Any) -> str:
    """The errors that TensorRT has logged since the last call, as one line."""
    errors = logger_of(trt).errors
    text = "; ".join(errors) or "it gives no reason"
    errors.clear()
    return text


def _network_flags(trt: Any) -> int:
    """Strongly typed; from TensorRT 11 on every network is, and the flag may be gone."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(trt: Any, network: Any, graph: bytes, name: str) -> None:
    parser = trt.OnnxParser(network, logger_of(trt))
    if not parser.parse(graph):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise EngineError(
            f"{name}: TensorRT {trt.__version__} cannot parse it: {'; '.join(errors) or reasons(trt)}"
        )


def _configure(trt: Any, config: Any, settings: BuildSettings) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.builder_optimization_level = settings.level
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)


def _timing_cache(config: Any, known: bytes) -> Any:
    """The cache of earlier measurements, an empty one where TensorRT refuses those, None if that too."""
    for measured in (known, b""):
        cache = config.create_timing_cache(measured)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def _show_progress(trt: Any, config: Any, name: str) -> None:
    _say(f"{name}: TensorRT {trt.__version__} builds it for this GPU; minutes on a small board, once")
    if hasattr(trt, "IProgressMonitor") and hasattr(config, "progress_monitor"):
        config.progress_monitor = _monitor(trt, lambda text: _say(f"{name}: {text}"))


def _monitor(trt: Any, say: Callable[[str], None]) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._said = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self._said >= BETWEEN_LINES:
                self._said = time.monotonic()
                say(f"{phase_name}, {step + 1} of {self._steps.get(phase_name, step + 1)}")
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _say(text: str) -> None:
    print(f"ratehold: {text}", file=sys.stderr, flush=True)
