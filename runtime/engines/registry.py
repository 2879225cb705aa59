"""Engines by name: those of this package, and those that installed packages offer."""

from __future__ import annotations

import weakref
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast

from runtime.engines.base import DEFAULT, Engine, EngineOptions
from runtime.engines.first_run import FirstRun
from runtime.engines.graph import OnnxGraph
from runtime.engines.graph_check import check_graph
from runtime.engines.precision import at_precision
from runtime.errors import BundleError, EngineError, EngineUnavailable

ENGINES = {
    "onnxruntime-cpu": "runtime.engines.onnxruntime_cpu",
    "onnxruntime-cuda": "runtime.engines.onnxruntime_cuda",
    "tensorrt": "runtime.engines.tensorrt.engine",
}
"""A built-in engine -> the module that opens it."""

GROUP = "ratehold.engines"
"""The entry-point group of engines that other packages offer: a name -> a module like those above."""


class EngineModule(Protocol):
    """A module that opens graphs for one engine.

    It may also have ``open_bytes(model: bytes, name: str, options: EngineOptions) -> Engine``, which then is
    called instead of ``open_graph``. Without it a graph is written to a private file first, so that what is
    opened is what was verified.
    """

    def open_graph(self, graph: Path, options: EngineOptions) -> Engine:
        """Open an ONNX file. Raises EngineUnavailable or EngineError."""

    def missing(self) -> str | None:
        """Why the engine cannot run on this machine, and the cure; None when it can."""


def open_engine(graph: Path | OnnxGraph, options: EngineOptions) -> Engine:
    """Open an ONNX file, or the graph of a bundle, from bytes that were checked (``graph_check``).

    Raises EngineUnavailable (how to install the engine), EngineError (what is wrong), or BundleError where a
    bundle's graph is not one, or not the one that its manifest promises.
    """
    module = _module(options.engine)
    reason = module.missing()
    if reason is not None:
        raise EngineUnavailable(reason)
    graph = OnnxGraph.of_file(graph) if isinstance(graph, Path) else graph
    graph, precision = at_precision(graph, options.precision)
    try:
        check_graph(graph)
    except EngineError as error:
        raise _of(graph, f"cannot open it: {error}") from error
    try:
        engine = _open(module, graph, options)
    except EngineUnavailable:
        raise
    except EngineError as error:
        if options.engine == DEFAULT and graph.owner:  # it runs every graph, so the graph is at fault
            raise _of(graph, str(error)) from error
        raise
    engine.precision = precision
    return FirstRun(engine, graph) if options.engine == DEFAULT and graph.interface else engine


def _open(module: EngineModule, graph: OnnxGraph, options: EngineOptions) -> Engine:
    open_bytes = getattr(module, "open_bytes", None)
    if open_bytes is not None:
        return cast(Engine, open_bytes(graph.model, str(graph.path), options))
    copy = graph.copied()
    engine = module.open_graph(Path(copy.name, graph.name), options)
    weakref.finalize(engine, copy.cleanup)  # an engine may open its file again
    return engine


def _of(graph: OnnxGraph, reason: str) -> EngineError | BundleError:
    return BundleError(f"{graph.owner}: {reason}") if graph.owner else EngineError(f"{graph.path}: {reason}")


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
