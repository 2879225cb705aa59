"""The exact h_s of a hyperprior: symbols of z -> table and mean of each symbol of y.

Every engine gets the same whole numbers from its graph, because the network is exact
(``runtime.prior.exact``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.errors import BundleError
from runtime.prior.exact import MAGNITUDE, IntegerNetwork

WORTH_SHARING = 1 << 24
"""Multiplications of an h_s below which a second thread costs more than it saves: it takes 0.1 ms to wake."""


class Synthesis(Protocol):
    """An exact h_s. Thread-safe."""

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """int32 (C, H, W) -> float32[2 n], whole numbers: n tables, then n means in sixteenths."""


def open_synthesis(bundle: Bundle, options: EngineOptions) -> Synthesis:
    """The exact h_s of a bundle. Raises BundleError for one that may leave exact arithmetic, EngineError."""
    manifest = bundle.manifest
    channels, *grid = manifest.latent
    try:
        network = IntegerNetwork.from_arrays(bundle.arrays("prior"))  # refuses a network that may round
        if manifest.hyper is None or network.shape(manifest.hyper) != (2 * channels, *grid):
            raise BundleError("it does not return a table and a mean of each symbol")
    except BundleError as error:
        raise BundleError(f"bundle {manifest.name}: its h_s: {error}") from error
    positions = math.prod(grid)
    if sum(layer.weight.size for layer in network.layers) * positions < WORTH_SHARING:
        options = replace(options, threads=1)
    return GraphSynthesis(open_engine(bundle.graph("h_s"), options))


class GraphSynthesis:
    """h_s as a graph on an engine."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """See ``Synthesis``."""
        clamped = np.clip(z, -MAGNITUDE, MAGNITUDE)
        (out,) = self._engine.run(clamped[None].astype(np.float32))
        return out.ravel()
