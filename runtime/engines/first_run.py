"""The first run of a bundle's graph: it shows whether the graph is what its manifest promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.engines.base import Engine
from runtime.engines.graph import OnnxGraph
from runtime.errors import BundleError, EngineError


class FirstRun:
    """An engine that checks its first outputs. Later runs are those of the engine itself.

    A run at opening would show the same, and cost every start a frame's time.

    Args:
        engine: what opened the graph.
        graph: of a bundle, with its interface.
    """

    run: Callable[..., list[NDArray[np.float32]]]

    def __init__(self, engine: Engine, graph: OnnxGraph):
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.device, self.precision = engine.device, engine.precision
        self._engine, self._owner, self._interface = engine, graph.owner, graph.interface
        self.run = self._first

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.run(*(np.zeros(shape, dtype=np.float32) for _, shape in self.inputs))

    def _first(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """See ``Engine.run``. Raises BundleError where what the manifest promises goes in, not out."""
        assert self._interface is not None
        if tuple(array.shape for array in inputs) != self._interface.inputs:
            return self._engine.run(*inputs)
        try:
            outputs = self._engine.run(*inputs)
        except EngineError as error:
            raise BundleError(f"{self._owner} cannot run: {error}") from error
        shapes = tuple(array.shape for array in outputs)
        if shapes != self._interface.outputs:
            raise BundleError(f"{self._owner} returns {shapes}, the manifest says {self._interface.outputs}")
        if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in outputs):
            raise BundleError(f"{self._owner} returns what is not a number, or infinite: it is damaged")
        self.run = self._engine.run
        return outputs
