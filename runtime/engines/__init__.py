"""Engines run graphs. One small interface, one file a backend.

    engine = open_engine(bundle.path("head"), EngineOptions(threads=2))
    y, z = engine.run(image)

An engine is imported only when it is asked for, and after opening it is verified which provider runs:
a silent fall-back is an error. Those of a GPU are ``GpuEngine``s: they also run on arrays that are on the
GPU already, in a stream, which is what ``runtime.gpu`` makes of them.

A module of an engine has two functions: ``open_graph``, and ``missing``, which says why it cannot run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.engines.precision import Precision, at_precision
from runtime.errors import EngineUnavailable

Optimisation = Literal["disabled", "basic", "extended", "all"]
Memory = Literal["auto", "device", "pinned_mapped"]

# An engine's name -> the module that opens it.
ENGINES = {
    "onnxruntime-cpu": "runtime.engines.onnxruntime_cpu",
    "onnxruntime-cuda": "runtime.engines.onnxruntime_cuda",
    "tensorrt": "runtime.engines.tensorrt.engine",
}
DEFAULT = "onnxruntime-cpu"


@dataclass(frozen=True)
class EngineOptions:
    """How to run a graph.

    engine: a key of ``ENGINES``.
    threads: threads inside one operator; None lets the backend choose.
    optimisation: how far the backend may rewrite the graph.
    memory: for an engine on a GPU: where frames and latents cross to and from it. ``device``: copied from and
        to pinned host memory; ``pinned_mapped``: in pinned host memory that the GPU reads and writes itself,
        right where both share one DRAM; ``auto``: what fits the GPU (see ``runtime.gpu.memory``).
    precision: of the arithmetic of heads; ``float16`` opens their half graphs (``engines.half``).
    """

    engine: str = DEFAULT
    threads: int | None = None
    optimisation: Optimisation = "all"
    memory: Memory = "auto"
    precision: Precision = "float32"


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


@runtime_checkable
class GpuEngine(Engine, Protocol):
    """An engine on a GPU: it also runs in a CUDA stream, on memory that is there. ``run`` needs no ``bind``.

    Attributes:
        output_shapes: shape of each output, batch 1.
    """

    output_shapes: tuple[tuple[int, ...], ...]

    def bind(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        """Fix what ``enqueue`` reads and writes, and the stream in which it does.

        inputs, outputs: device addresses in the order of ``inputs`` and ``outputs``, each of contiguous
            float32 of the static shape. The memory belongs to the caller and must outlive the engine.
        stream: handle of a CUDA stream.

        Raises EngineError when the backend refuses.
        """

    def enqueue(self) -> None:
        """Queue one run in the bound stream and return without waiting for it.

        Replays a CUDA graph after the first runs where the backend can. Raises EngineError when it fails.
        """


def open_engine(graph: Path, options: EngineOptions) -> Engine:
    """Open an ONNX file. Raises EngineUnavailable (how to install it) or EngineError (what is wrong)."""
    if options.engine not in ENGINES:
        raise EngineUnavailable(f"unknown engine {options.engine!r}; there are: {', '.join(ENGINES)}")
    module = import_module(ENGINES[options.engine])
    path, precision = at_precision(graph, options.precision)
    engine: Engine = module.open_graph(path, options)
    engine.precision = precision
    return engine


def missing(engine: str) -> str | None:
    """Why this key of ``ENGINES`` cannot run on this machine, and the cure; None when it can."""
    reason: str | None = import_module(ENGINES[engine]).missing()
    return reason


def available() -> list[str]:
    """The engines that can run on this machine: what they need is installed, and their device is there."""
    return [name for name in ENGINES if missing(name) is None]
