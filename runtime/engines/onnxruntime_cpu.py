"""ONNX Runtime on the CPU: always there, and the reference for the other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.engines import Engine, EngineOptions
from runtime.engines.onnxruntime_session import OnnxRuntimeSession, session_options
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
    """Open an ONNX file with ONNX Runtime's CPU provider; a stem of the paper's heads runs without it."""
    if options.optimisation == "all" and _may_have_stem(graph):
        from runtime.engines.stem import Stemmed
        from runtime.engines.stem_graph import find_stem

        stem = find_stem(graph.read_bytes())
        if stem is not None:
            rest = open_model(stem.rest, f"{graph}, after its stem", options)
            return Stemmed(stem, rest, options.threads)
    return _open(str(graph), str(graph), options)


def open_model(model: bytes, name: str, options: EngineOptions) -> Engine:
    """Open what an ONNX file holds, or was rewritten to; ``name`` is for errors."""
    return _open(model, name, options)


def _may_have_stem(graph: Path) -> bool:
    """Whether Abs and Div are among the first nodes, with which a file begins: others are not parsed."""
    try:
        with graph.open("rb") as file:
            begin = file.read(2048)
    except OSError:
        return False  # ONNX Runtime says what is wrong
    return b"Abs" in begin and b"Div" in begin


def _open(model: str | bytes, name: str, options: EngineOptions) -> Engine:
    reason = missing()
    if reason is not None:
        raise EngineUnavailable(reason)
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            model, session_options(onnxruntime, options), providers=[PROVIDER]
        )
    except Exception as error:  # its exceptions have no common base but this one
        raise EngineError(f"{name}: ONNX Runtime cannot open it: {error}") from error
    return OnnxRuntimeCpu(session)


class OnnxRuntimeCpu(OnnxRuntimeSession):
    """An ONNX Runtime session on the CPU, float32 in and out."""

    device = "CPU"

    def __init__(self, session: Any):
        if session.get_providers() != [PROVIDER]:
            raise EngineError(f"asked for {PROVIDER}, got {session.get_providers()}")
        super().__init__(session)
