"""The exact h_s of a hyperprior: symbols of z -> table and mean of each symbol of y.

Whoever computes it gets the same whole numbers (``runtime.prior.exact``), so it is computed in the fastest
way: by compiled code on a CPU that has products of bytes, elsewhere by an engine that runs its graph.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engines import DEFAULT, Engine, EngineOptions, open_engine
from runtime.prior.exact import MAGNITUDE, IntegerNetwork


class Synthesis(Protocol):
    """An exact h_s. Thread-safe."""

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """int32 (C, H, W) -> float32[2 n], whole numbers: n tables, then n means in sixteenths."""


def open_synthesis(bundle: Bundle, options: EngineOptions) -> Synthesis:
    """The exact h_s of a bundle. Raises BundleError for one that may leave exact arithmetic, EngineError."""
    network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    if options.engine == DEFAULT and options.optimisation == "all" and bundle.manifest.hyper is not None:
        from runtime.engines.integers import CompiledNetwork, can_run  # Numba: half a second

        if can_run(network):
            return CompiledNetwork(network, bundle.manifest.hyper, options.threads)
    return GraphSynthesis(open_engine(bundle.path("h_s"), options))


class GraphSynthesis:
    """h_s as a graph on an engine."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """See ``Synthesis``."""
        clamped = np.clip(z, -MAGNITUDE, MAGNITUDE)
        (out,) = self._engine.run(clamped[None].astype(np.float32))
        return out.ravel()
