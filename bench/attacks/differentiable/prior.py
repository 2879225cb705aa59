"""The two priors as the attacker differentiates them: the runtime's symbols and bits, with a gradient.

Un-masked, every rounding passes the gradient straight through: those of y and z, and each ``Round`` and
``Floor`` of the exact h_s. Released, the loss is the one of the paper's code:
y under a hyperprior is rounded without a gradient, so that only the scales carry any, and z is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bench.attacks.differentiable.straight_through import rounded, straight_through
from export.prior.table_bits import TableBits
from runtime.bundle import Bundle
from runtime.codec.coarseness import factor, rebinned, rungs
from runtime.codec.limits import LATENT_LIMIT, MEAN_STEPS
from runtime.codec.tables import Tables
from runtime.prior.exact import LEAK, MAGNITUDE, IntegerNetwork, Layer

NOISE_SAMPLES = 16


Symbols = list[torch.Tensor] | None


@dataclass(frozen=True)
class Coded:
    """Latents as they are coded.

    y_bits: (N, C, H, W), bits of each symbol of y; side_bits: (N,), those of z, 0 without one.
    y_hat: (N, C, H, W), what the decoder gets.
    """

    y_bits: torch.Tensor
    side_bits: torch.Tensor
    y_hat: torch.Tensor

    @property
    def bits(self) -> torch.Tensor:
        """(N,): the runtime's ``Latent.expected_bits``."""
        return self.y_bits.flatten(1).sum(1) + self.side_bits


class DifferentiablePrior(Protocol):
    """The head's outputs, float32 (N, C, H, W) each -> bits."""

    def code(
        self, latents: list[torch.Tensor], coarseness: int = 0, control: float = 0.0, sent: Symbols = None
    ) -> Coded:
        """As the runtime codes them, in steps of this coarseness and after rate control of this weight.

        sent: what was really sent of one frame, whole numbers; else symbols are rounded here.
        """

    def released(self, latents: list[torch.Tensor]) -> torch.Tensor:
        """The loss of the paper's released code, in bits, (N,)."""


def open_prior(bundle: Bundle) -> DifferentiablePrior:
    """The prior of a bundle."""
    arrays = bundle.arrays("prior")
    tables = Tables.from_arrays(arrays)
    if bundle.manifest.prior == "fp":
        return DifferentiableFactorized(tables)
    scales = Tables.from_arrays(bundle.arrays("scales"))
    return DifferentiableHyperprior(
        TableBits(tables), TableBits(scales), len(scales), IntegerNetwork.from_arrays(arrays)
    )


class DifferentiableFactorized:
    """One table a channel."""

    def __init__(self, tables: Tables):
        self._tables_at = cache(lambda coarseness: TableBits(rebinned(tables, coarseness)))

    def code(
        self, latents: list[torch.Tensor], coarseness: int = 0, control: float = 0.0, sent: Symbols = None
    ) -> Coded:
        """See ``DifferentiablePrior.code``."""
        steps, tables = float(factor(coarseness)), self._tables_at(coarseness)
        y = _limited(latents[0]) / steps
        index = _channels(y)
        symbols = _sent(y, index, tables, control) if sent is None else sent[0].view_as(y)
        bits = tables(y, index, symbols)
        return Coded(bits, y.new_zeros(len(y)), straight_through(symbols, y) * steps)

    def released(self, latents: list[torch.Tensor]) -> torch.Tensor:
        """The mean over 16 samples of uniform noise: here its 16 midpoints, so that a run repeats."""
        y = _limited(latents[0])
        noise = [(k + 0.5) / NOISE_SAMPLES - 0.5 for k in range(NOISE_SAMPLES)]
        tables = self._tables_at(0)
        samples = [tables(y + u, _channels(y)).flatten(1).sum(1) for u in noise]
        return torch.stack(samples).mean(0)


class DifferentiableHyperprior:
    """z, whose exact h_s gives table and mean of each symbol of y."""

    def __init__(self, z_tables: TableBits, scales: TableBits, count: int, h_s: IntegerNetwork):
        self._z_tables, self._scales, self._count = z_tables, scales, count
        self._h_s = [_ExactLayer(layer) for layer in h_s.layers]
        self._rungs = None if h_s.rungs is None else _ScaleLookup(h_s.rungs)

    def code(
        self, latents: list[torch.Tensor], coarseness: int = 0, control: float = 0.0, sent: Symbols = None
    ) -> Coded:
        """See ``DifferentiablePrior.code``. Where z was sent all zero, nothing depends on the frame's."""
        y, z = (_limited(latent) for latent in latents)
        if sent is not None:
            of_z = sent[0].view_as(z)
            z = straight_through(of_z, z) if bool(of_z.any()) else of_z
        index, mean = self.parameters(rounded(z))
        steps = float(factor(coarseness))
        index, values = (index - rungs(coarseness)).clamp(min=0), (y - mean) / steps
        symbols = _sent(values, index, self._scales, control) if sent is None else sent[1].view_as(y)
        side = self._z_tables(z, _channels(z)).flatten(1).sum(1)
        y_hat = straight_through(symbols, values) * steps + mean
        return Coded(self._scales(values, index, symbols), side, y_hat)

    def released(self, latents: list[torch.Tensor]) -> torch.Tensor:
        """Rounding blocks the gradient to y and to the means."""
        y, z = (_limited(latent) for latent in latents)
        index, mean = self.parameters(rounded(z))
        return self._scales((y - mean).detach(), index).flatten(1).sum(1)

    def parameters(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Table, a whole number, and mean of each symbol of y, (N, C, H, W) each; z holds whole numbers."""
        a = straight_through(z.clamp(-MAGNITUDE, MAGNITUDE), z)
        for layer in self._h_s:
            a = layer(a)
        index, sixteenths = a.chunk(2, 1)
        if self._rungs is not None:
            index = self._rungs(index)
        return straight_through(index.clamp(0, self._count - 1), index), sixteenths / MEAN_STEPS


class _ExactLayer:
    """One layer of an exact network on float32, which holds its integers exactly."""

    def __init__(self, layer: Layer):
        self._layer = layer
        self._weight = torch.from_numpy(layer.weight.astype(np.float32))
        self._bias = torch.from_numpy(layer.bias.astype(np.float32))
        self._unit = torch.exp2(-torch.as_tensor(layer.shift, dtype=torch.float32)).reshape(-1, 1, 1)

    def __call__(self, a: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        if layer.transposed:
            sums = functional.conv_transpose2d(
                a, self._weight, self._bias, layer.stride, layer.padding, layer.output_padding
            )
        else:
            sums = functional.conv2d(a, self._weight, self._bias, layer.stride, layer.padding)
        scaled = rounded(sums) * self._unit  # rounded: an algorithm that is exact only to 0.5
        floored = straight_through(scaled.floor(), scaled)
        if layer.leaky:
            leak = scaled * (LEAK[0] / 2 ** LEAK[1])
            floored = torch.maximum(floored, straight_through(leak.floor(), leak))
        return floored.clamp(layer.low, layer.high)


class _ScaleLookup:
    """Table index of each scale: a staircase forwards, and backwards the ramp through its risers' middles.

    The staircase's own slope is zero almost everywhere, which would mask the gradient of large scales.
    """

    def __init__(self, rungs: NDArray[np.int32]):
        self._rungs = torch.from_numpy(rungs.astype(np.float32))
        risers = np.flatnonzero(np.diff(rungs))
        ramp = np.interp(np.arange(len(rungs)), risers + 0.5, (rungs[risers] + rungs[risers + 1]) / 2)
        self._slope = torch.from_numpy(np.gradient(ramp).astype(np.float32))

    def __call__(self, scale: torch.Tensor) -> torch.Tensor:
        rung = scale.detach().clamp(0, len(self._rungs) - 1).long()
        return straight_through(self._rungs[rung], scale * self._slope[rung])


def _sent(values: torch.Tensor, index: torch.Tensor, tables: TableBits, control: float) -> torch.Tensor:
    """The symbol of the least (v - s)^2 + control bits(s) among the nearest, one step towards 0, and 0."""
    values, table = values.detach(), index.detach().long()
    nearest = values.round()
    if control == 0:
        return nearest
    candidates = torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)])
    costs = [(values - s).square() + control * tables.of_symbols(s, table) for s in candidates]
    return candidates.gather(0, torch.stack(costs).argmin(0, keepdim=True))[0]


def _limited(latent: torch.Tensor) -> torch.Tensor:
    return latent.clamp(-LATENT_LIMIT, LATENT_LIMIT)


def _channels(latent: torch.Tensor) -> torch.Tensor:
    """The table of each symbol when each channel has its own."""
    return torch.arange(latent.shape[1], dtype=torch.float32).view(1, -1, 1, 1).expand_as(latent)
