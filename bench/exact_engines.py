"""Priors of one bundle that differ in who computes the exact h_s: every engine, torch, and the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from runtime.bundle import Bundle
from runtime.engines import DEFAULT, ENGINES, EngineOptions, Optimisation, missing
from runtime.exact import LEAK, IntegerNetwork, Layer
from runtime.prior import ExactSynthesis, Hyperprior, Prior, open_prior
from runtime.tables import Tables


@dataclass
class OnHost:
    """An engine whose one graph is a function of z, float32 (1, C, H, W)."""

    call: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...] = ("parameters",)
    device: str = "CPU"
    precision: str = "float32"

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """See ``Engine.run``."""
        return [self.call(*inputs)]

    def warm_up(self) -> None:
        """Nothing is allocated."""


def priors(bundle: Bundle) -> tuple[dict[str, Prior], dict[str, str]]:
    """A prior for each way to compute h_s, by its name; and why an engine cannot on this machine, by its own.

    A factorized prior computes nothing, so it is alone.
    """
    if "h_s" not in bundle.manifest.files:
        return {"tables alone": open_prior(bundle, EngineOptions())}, {}
    network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    found: dict[str, Prior] = {
        "NumPy, the definition": _with(
            bundle, lambda z: network(z[0].astype(np.int32))[None].astype(np.float32)
        ),
        "torch": _with(bundle, lambda z: torch_network(network, torch.from_numpy(z)).numpy()),
    }
    skipped = {}
    for engine in ENGINES:
        reason = missing(engine)
        if reason is not None:
            skipped[engine] = reason
        elif engine == DEFAULT:
            for threads in (1, 2):
                for level in get_args(Optimisation):
                    name = f"{engine}, {threads} thread{'s'[: threads - 1]}, {level}"
                    found[name] = open_prior(bundle, EngineOptions(engine, threads, level))
        else:
            found[engine] = open_prior(bundle, EngineOptions(engine))
    return found, skipped


def _with(bundle: Bundle, call: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Prior:
    """The bundle's hyperprior with another h_s."""
    manifest, arrays = bundle.manifest, bundle.arrays("prior")
    assert manifest.hyper is not None
    h_s = ExactSynthesis(OnHost(call, (("z", (1, *manifest.hyper)),)), IntegerNetwork.from_arrays(arrays))
    scales = Tables.from_arrays(bundle.arrays("scales"))
    return Hyperprior(Tables.from_arrays(arrays), scales, h_s, manifest.latent, manifest.hyper)


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
