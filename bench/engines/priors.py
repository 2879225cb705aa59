"""Priors of one bundle, one for each way to compute the exact h_s: engines, torch, and the definition."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.engines import DEFAULT, ENGINES, EngineOptions, Optimisation, missing, open_engine
from runtime.prior import open_prior
from runtime.prior.base import Prior
from runtime.prior.exact import LEAK, MAGNITUDE, IntegerNetwork, Layer
from runtime.prior.hyperprior import Hyperprior
from runtime.prior.synthesis import GraphSynthesis, Synthesis


def priors(bundle: Bundle) -> tuple[dict[str, Prior], dict[str, str]]:
    """By name, a prior for each way to compute h_s; by engine, why it is not on this machine.

    A factorized prior computes nothing, so it is alone.
    """
    if "h_s" not in bundle.manifest.files:
        return {"tables alone": open_prior(bundle, EngineOptions())}, {}
    network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    found: dict[str, Synthesis] = {"NumPy, the definition": lambda z: network(z).ravel().astype(np.float32)}
    found["torch"] = lambda z: _by_torch(network, z)
    assert bundle.manifest.hyper is not None
    skipped = {}
    for engine in ENGINES:
        reason = missing(engine)
        if reason is not None:
            skipped[engine] = reason
        elif engine == DEFAULT:
            for threads in (1, 2):
                for level in get_args(Optimisation):
                    options = EngineOptions(engine, threads, level)
                    found[f"{engine}, {_threads(threads)}, {level}"] = _on(bundle, options)
        else:
            found[engine] = _on(bundle, EngineOptions(engine))
    return {name: with_synthesis(bundle, h_s) for name, h_s in found.items()}, skipped


def _by_torch(network: IntegerNetwork, z: NDArray[np.int32]) -> NDArray[np.float32]:
    clamped = torch.from_numpy(z.clip(-MAGNITUDE, MAGNITUDE)[None]).float()
    out: NDArray[np.float32] = torch_network(network, clamped).numpy()
    return out.ravel()


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _on(bundle: Bundle, options: EngineOptions) -> Synthesis:
    return GraphSynthesis(open_engine(bundle.graph("h_s"), options))


def with_synthesis(bundle: Bundle, h_s: Synthesis) -> Prior:
    """The bundle's hyperprior with another h_s."""
    manifest = bundle.manifest
    assert manifest.hyper is not None
    tables, scales = (Tables.from_arrays(bundle.arrays(role)) for role in ("prior", "scales"))
    return Hyperprior(tables, scales, h_s, manifest.latent, manifest.hyper)


@torch.no_grad()
def torch_network(network: IntegerNetwork, z: torch.Tensor) -> torch.Tensor:
    """The exact network in torch's float32: (1, C, H, W) -> (1, 2 C', H', W')."""
    value = z
    for layer in network.layers:
        value = _layer(layer, value)
    if network.rungs is None:
        return value
    scale, mean = value.chunk(2, dim=1)
    rungs = torch.from_numpy(network.rungs).float()
    return torch.cat([rungs[scale.clamp(0, len(rungs) - 1).long()], mean], dim=1)


def _layer(layer: Layer, value: torch.Tensor) -> torch.Tensor:
    weight, bias = (torch.from_numpy(array).float() for array in (layer.weight, layer.bias))
    if layer.transposed:
        sums = functional.conv_transpose2d(
            value, weight, bias, layer.stride, layer.padding, layer.output_padding
        )
    else:
        sums = functional.conv2d(value, weight, bias, layer.stride, layer.padding)
    sums = sums.round()
    scale = torch.from_numpy(np.exp2(-np.asarray(layer.shift, dtype=np.float32)).reshape(-1, 1, 1))
    out = torch.floor(sums * scale)
    if layer.leaky:
        out = torch.maximum(out, torch.floor(sums * (scale * LEAK[0] * 2.0 ** -LEAK[1])))
    return out.clamp(layer.low, layer.high)
