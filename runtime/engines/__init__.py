"""Engines run graphs. One small interface, one file a backend.

    engine = open_engine(bundle.path("head"), EngineOptions(threads=2))
    y, z = engine.run(image)

An engine is imported only when it is asked for, and after opening it is verified which provider runs:
a silent fall-back is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineUnavailable

Optimisation = Literal["disabled", "basic", "extended", "all"]

# An engine's name -> the module that opens it.
ENGINES = {"onnxruntime-cpu": "runtime.engines.onnxruntime_cpu"}
DEFAULT = "onnxruntime-cpu"


@dataclass(frozen=True)
class EngineOptions:
    """How to run a graph.

    engine: a key of ``ENGINES``.
    threads: threads inside one operator; None lets the backend choose.
    optimisation: how far the backend may rewrite the graph.
    """

    engine: str = DEFAULT
    threads: int | None = None
    optimisation: Optimisation = "all"


class Engine(Protocol):
    """One opened graph.

    Attributes:
        inputs: name and shape of each input, in order.
        outputs: names of the outputs, in order.
        device: where it really runs, e.g. ``CPU``.
        precision: of the arithmetic, e.g. ``float32``.
    """

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]
    device: str
    precision: str

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run once: float32 arrays in the order of ``inputs`` -> float32 arrays in that of ``outputs``.

        Raises EngineError when the graph refuses the shapes or fails.
        """

    def warm_up(self) -> None:
        """Run once on zeros, so that the first frame does not pay for allocation."""


def open_engine(graph: Path, options: EngineOptions) -> Engine:
    """Open an ONNX file. Raises EngineUnavailable (how to install it) or EngineError (what is wrong)."""
    if options.engine not in ENGINES:
        raise EngineUnavailable(f"unknown engine {options.engine!r}; there are: {', '.join(ENGINES)}")
    module = import_module(ENGINES[options.engine])
    engine: Engine = module.open_graph(graph, options)
    return engine
