"""Engines run graphs. One small interface (``base``), one file a backend.

    engine = open_engine(bundle.graph("head"), EngineOptions(threads=2))
    y, z = engine.run(image)

An engine is imported only when it is asked for. After opening, the provider that really runs is checked: a
silent fall-back is an error. An engine on a GPU is a ``GpuEngine``: it also runs in a stream, on arrays that
are on the GPU already, as ``runtime.gpu`` does.

A new engine is a module with two functions, ``open_graph`` and ``missing`` (``registry.EngineModule``).
Another package offers one through the entry-point group ``ratehold.engines``.
"""

from runtime.engines.base import DEFAULT, Engine, EngineOptions, GpuEngine, Memory, Optimisation
from runtime.engines.graph import OnnxGraph
from runtime.engines.precision import Precision
from runtime.engines.registry import ENGINES, available, engine_names, missing, open_engine

__all__ = [
    "DEFAULT",
    "ENGINES",
    "Engine",
    "EngineOptions",
    "GpuEngine",
    "Memory",
    "OnnxGraph",
    "Optimisation",
    "Precision",
    "available",
    "engine_names",
    "missing",
    "open_engine",
]
