"""A GpuEngine without a GPU: ONNX Runtime's CPU provider on the arrays of Numba's simulator, which lie on
the host. Registered as ``stand-in`` where it is imported.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.engines import ENGINES, EngineOptions, onnxruntime_cpu, open_engine
from runtime.engines.onnxruntime_cpu import OnnxRuntimeCpu

NAME = "stand-in"
ENGINES[NAME] = __name__
opened: list[StandIn] = []


class StandIn:
    """Counts its binds and runs."""

    device, precision = "simulator", "float32"

    def __init__(self, graph: Path):
        engine = open_engine(graph, EngineOptions(threads=1))
        assert isinstance(engine, OnnxRuntimeCpu)
        self._engine, self.graph = engine, graph
        self.inputs, self.outputs = engine.inputs, engine.outputs
        zeros = [np.zeros(shape, np.float32) for _, shape in engine.inputs]
        self.output_shapes = tuple(out.shape for out in engine.run(*zeros))
        self.binds, self.runs = 0, 0

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return self._engine.run(*inputs)

    def warm_up(self) -> None:
        self._engine.warm_up()

    def bind(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        self.binds += 1
        self._inputs = [_at(a, shape) for a, (_, shape) in zip(inputs, self.inputs, strict=True)]
        self._outputs = [_at(a, shape) for a, shape in zip(outputs, self.output_shapes, strict=True)]

    def enqueue(self) -> None:
        self.runs += 1
        for target, value in zip(self._outputs, self._engine.run(*self._inputs), strict=True):
            target[...] = value


def _at(address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    memory = (ctypes.c_float * math.prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)


def open_graph(graph: Path, options: EngineOptions) -> StandIn:
    opened.append(StandIn(graph))
    return opened[-1]


missing = onnxruntime_cpu.missing
