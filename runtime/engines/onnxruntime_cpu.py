"""ONNX Runtime on the CPU: always there, and the reference for the other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engines.base import Engine, EngineOptions
from runtime.engines.graph import OnnxGraph
from runtime.engines.stem import open_stemmed
from runtime.errors import EngineError, EngineUnavailable

PROVIDER = "CPUExecutionProvider"


def missing() -> str | None:
    """Why ONNX Runtime cannot run here, and the cure; None when it can."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return "ONNX Runtime is not installed: pip install 'ratehold[cpu]'"
    return None


def open_graph(graph: Path, options: EngineOptions) -> Engine:
    """``open_bytes`` for an ONNX file."""
    return open_bytes(OnnxGraph.of_file(graph).model, str(graph), options)


def open_bytes(model: bytes, name: str, options: EngineOptions) -> Engine:
    """Open a graph with ONNX Runtime's CPU provider; the stem of a paper head runs in our kernels."""
    if options.optimisation == "all":
        stemmed = open_stemmed(
            model, name, lambda rest, name: open_model(rest, name, options), options.threads
        )
        if stemmed is not None:
            return stemmed
    return open_model(model, name, options)


def open_model(model: bytes, name: str, options: EngineOptions) -> Engine:
    """Open what an ONNX file holds, or was rewritten to; ``name`` is for errors."""
    reason = missing()
    if reason is not None:
        raise EngineUnavailable(reason)
    import onnxruntime

    try:
        # A fallback would print to standard output, which may carry packets, and open the same again.
        session = onnxruntime.InferenceSession(
            model, session_options(onnxruntime, options), providers=[PROVIDER], enable_fallback=0
        )
    except Exception as error:  # its exceptions have no common base but this one
        raise EngineError(f"{name}: ONNX Runtime cannot open it: {error}") from error
    return OnnxRuntimeCpu(session)


def session_options(onnxruntime: Any, options: EngineOptions) -> Any:
    """What every session is told."""
    levels = onnxruntime.GraphOptimizationLevel
    session_options = onnxruntime.SessionOptions()
    session_options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session_options.graph_optimization_level = {
        "disabled": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[options.optimisation]
    # A frame runs through several sessions and the coder in turn: threads that spin after one of them take
    # the cores from the next, and on two cores everything takes two to three times as long.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session_options.log_severity_level = 3  # warnings about constant folding are no user's business
    if options.threads is not None:
        session_options.intra_op_num_threads = options.threads
    return session_options


class OnnxRuntimeSession:
    """An opened session, float32 in and out, as an ``Engine`` on arrays of the host."""

    device: str
    precision = "float32"

    def __init__(self, session: Any):
        self._session = session
        self.inputs = tuple((i.name, _fixed(i.shape)) for i in session.get_inputs())
        self.outputs = tuple(o.name for o in session.get_outputs())

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run once; see ``Engine.run``."""
        feeds = {name: array for (name, _), array in zip(self.inputs, inputs, strict=True)}
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, feeds)
        except Exception as error:  # its exceptions have no common base but this one
            raise EngineError(f"ONNX Runtime failed: {error}") from error
        return outputs

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.run(*(np.zeros(shape, dtype=np.float32) for _, shape in self.inputs))


def _fixed(shape: list[int | str]) -> tuple[int, ...]:
    """A shape with one frame where their number is open: that dimension has a name instead of a size."""
    return tuple(size if isinstance(size, int) else 1 for size in shape)


class OnnxRuntimeCpu(OnnxRuntimeSession):
    """An ONNX Runtime session on the CPU, float32 in and out."""

    device = "CPU"

    def __init__(self, session: Any):
        if session.get_providers() != [PROVIDER]:
            raise EngineError(f"asked for {PROVIDER}, got {session.get_providers()}")
        super().__init__(session)
