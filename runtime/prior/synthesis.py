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
from runtime.errors import BundleError, EngineError
from runtime.prior.exact import ACCUMULATOR_LIMIT, MAGNITUDE, IntegerNetwork

LARGEST = 2.0 * ACCUMULATOR_LIMIT
"""No h_s returns a larger number."""

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
    synthesis = GraphSynthesis(open_engine(bundle.graph("h_s"), options))
    z = np.random.default_rng(0).integers(-MAGNITUDE, MAGNITUDE + 1, manifest.hyper, dtype=np.int32)
    if not np.array_equal(synthesis(z), network(z).ravel()):
        raise BundleError(f"bundle {manifest.name}: its h_s as a graph does not compute what its arrays say")
    return synthesis


class GraphSynthesis:
    """h_s as a graph on an engine."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.float32]:
        """See ``Synthesis``."""
        clamped = np.clip(z, -MAGNITUDE, MAGNITUDE)
        (out,) = self._engine.run(clamped[None].astype(np.float32))
        if not (out.min() > -LARGEST and out.max() < LARGEST):  # false for NaN too
            raise EngineError("h_s returned numbers that no exact network returns: it is damaged")
        return out.ravel()
