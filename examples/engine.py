"""An engine of your own: the reference evaluator of onnx, in plain NumPy and slow.

A module is an engine when it has ``open_graph`` and ``missing``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.engines import EngineOptions


def missing() -> str | None:
    """Why it cannot run here, and the cure; None when it can."""
    return None if find_spec("onnx") else "onnx is not installed: pip install onnx"


def open_graph(graph: Path, options: EngineOptions) -> ReferenceEngine:
    """Open an ONNX file."""
    return ReferenceEngine(graph)


class ReferenceEngine:
    """See ``runtime.engines.Engine``."""

    device = "CPU"
    precision = "float32"

    def __init__(self, graph: Path):
        from onnx import load
        from onnx.reference import ReferenceEvaluator

        model = load(str(graph))
        constants = {tensor.name for tensor in model.graph.initializer}
        given = [value for value in model.graph.input if value.name not in constants]
        self.inputs = tuple((value.name, _shape(value)) for value in given)
        self.outputs = tuple(value.name for value in model.graph.output)
        self._evaluator = ReferenceEvaluator(model)

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run once: float32 arrays in the order of ``inputs`` -> float32 arrays in that of ``outputs``."""
        feeds = {name: array for (name, _), array in zip(self.inputs, inputs, strict=True)}
        return [np.asarray(array, np.float32) for array in self._evaluator.run(None, feeds)]

    def warm_up(self) -> None:
        """Nothing is allocated ahead."""


def _shape(value: object) -> tuple[int, ...]:
    """A shape; 1 where a dimension has a name instead of a size."""
    return tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)  # type: ignore[attr-defined]
