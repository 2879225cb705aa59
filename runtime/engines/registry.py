"""Engines by name: those of this package, and those that installed packages offer."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast

from runtime.engines.base import Engine, EngineOptions
from runtime.engines.precision import at_precision
from runtime.errors import EngineUnavailable

ENGINES = {
    "onnxruntime-cpu": "runtime.engines.onnxruntime_cpu",
    "onnxruntime-cuda": "runtime.engines.onnxruntime_cuda",
    "tensorrt": "runtime.engines.tensorrt.engine",
}
"""A built-in engine -> the module that opens it."""

GROUP = "ratehold.engines"
"""The entry-point group of engines that other packages offer: a name -> a module like those above."""


class EngineModule(Protocol):
    """A module that opens graphs for one engine."""

    def open_graph(self, graph: Path, options: EngineOptions) -> Engine:
        """Open an ONNX file. Raises EngineUnavailable or EngineError."""

    def missing(self) -> str | None:
        """Why the engine cannot run on this machine, and the cure; None when it can."""


def open_engine(graph: Path, options: EngineOptions) -> Engine:
    """Open an ONNX file. Raises EngineUnavailable (how to install it) or EngineError (what is wrong)."""
    module = _module(options.engine)
    path, precision = at_precision(graph, options.precision)
    engine = module.open_graph(path, options)
    engine.precision = precision
    return engine


def engine_names() -> list[str]:
    """All engines: the built-in ones, then those that installed packages offer."""
    return [*ENGINES, *sorted(set(_offered()) - set(ENGINES))]


def missing(engine: str) -> str | None:
    """Why this engine cannot run on this machine, and the cure; None when it can."""
    try:
        return _module(engine).missing()
    except EngineUnavailable as error:
        return str(error)


def available() -> list[str]:
    """The engines that can run on this machine: what they need is installed, and their device is there."""
    return [name for name in engine_names() if missing(name) is None]


def _module(engine: str) -> EngineModule:
    if engine in ENGINES:
        return cast(EngineModule, import_module(ENGINES[engine]))
    offered = _offered().get(engine)
    if offered is None:
        raise EngineUnavailable(f"unknown engine {engine!r}; there are: {', '.join(engine_names())}")
    try:
        module = offered.load()
    except Exception as error:  # another package's code may raise anything
        raise EngineUnavailable(
            f"engine {engine!r}: its package cannot import {offered.value}: {error}"
        ) from error
    for name in ("open_graph", "missing"):
        if not callable(getattr(module, name, None)):
            raise EngineUnavailable(f"engine {engine!r}: {offered.value} has no function {name}")
    return cast(EngineModule, module)


def _offered() -> dict[str, EntryPoint]:
    """Looked up anew each time: only an unknown name and a list of all engines need it."""
    return {point.name: point for point in entry_points(group=GROUP)}
