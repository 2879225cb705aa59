"""The mean-scale hyperprior, trained on frozen latents: only the prior learns, which takes minutes.

    y --h_a--> z --round--> z_hat --h_s--> (table index, mean) of each symbol of y

h_s trains in the form that ships (``runtime.prior.exact``): activations clamped to [0, 127] in steps of 1/8,
one table index per log-spaced scale, means in steps of 1/16. It trains first in floating point, then with
quantised weights and activations (straight-through), so that the integers lose next to nothing.
"""

from __future__ import annotations

import math

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import nn

from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import SCALES
from runtime.prior.exact import ACCUMULATOR_LIMIT, MAGNITUDE

UNIT = 8  # hidden activations count eighths
HIDDEN = 96
LOG_SCALE_STEP = math.log(SCALES[1] / SCALES[0])
TINY = 1e-9


class QuantisedLayer(nn.Module):
    """A convolution that can compute with the integer weights that will ship.

    Its inputs come in steps of ``1 / gain_in``, its outputs in steps of ``1 / gain_out``. Integer weights are
    ``weight * gain_out / gain_in * 2**shift``, rounded, at most 127. Gradients pass straight through.
    """

    layer: nn.Conv2d | nn.ConvTranspose2d

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, gain_in: float, gain_out: float):
        super().__init__()
        self.layer, self.gain_in, self.gain_out = layer, gain_in, gain_out
        self.on = False

    @property
    def shift(self) -> int:
        """The largest shift for which all weights fit into 8 bits and all sums stay exact.

        A sum is at most the bias plus 127 times the weights' magnitudes; rounding adds half a unit to each.
        """
        weight = self.layer.weight.detach().abs() * (self.gain_out / self.gain_in)
        transposed = isinstance(self.layer, nn.ConvTranspose2d)
        rows = (weight.transpose(0, 1) if transposed else weight).flatten(1)
        sums = MAGNITUDE * rows.sum(1) + self.gain_out * self._bias().detach().abs()
        room = ACCUMULATOR_LIMIT - 1 - MAGNITUDE * rows.shape[1] / 2
        finest = min(MAGNITUDE / max(float(weight.max()), TINY), 0.9 * room / max(float(sums.max()), TINY))
        return math.floor(math.log2(finest))

    def integer_parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The integer weight, and the integer bias with the half that turns ``floor`` into rounding."""
        unit = self.gain_out * 2.0**self.shift
        weight = (self.layer.weight * (unit / self.gain_in)).round().clamp(-MAGNITUDE, MAGNITUDE)
        return weight, (self._bias() * unit).round() + self._half()

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        """The convolution, with quantised parameters when ``on``."""
        if not self.on:
            return self.layer(a)
        unit = self.gain_out * 2.0**self.shift
        weight, bias = self.integer_parameters()
        parameters = {
            "weight": _straight_through(weight * (self.gain_in / unit), self.layer.weight),
            "bias": _straight_through((bias - self._half()) / unit, self._bias()),
        }
        quantised: torch.Tensor = torch.func.functional_call(self.layer, parameters, (a,))
        return quantised

    def _half(self) -> float:
        return 2.0 ** (self.shift - 1)

    def _bias(self) -> torch.Tensor:
        assert self.layer.bias is not None
        return self.layer.bias


def _straight_through(value: torch.Tensor, gradient_of: torch.Tensor) -> torch.Tensor:
    """``value`` forwards, the gradient of ``gradient_of`` backwards."""
    return gradient_of + (value - gradient_of).detach()


def _round(x: torch.Tensor, steps: float = 1.0) -> torch.Tensor:
    return _straight_through(torch.floor(x * steps + 0.5) / steps, x)


class SynthesisModule(nn.Module):
    """h_s: z_hat (N, M, h, w) -> index (N, C, H, W) in table steps and mean, in units of one symbol."""

    def __init__(self, channels: int, hyper: int, output_padding: int):
        super().__init__()
        self.quantised = False
        up = nn.ConvTranspose2d(hyper, HIDDEN, 3, stride=2, padding=1, output_padding=output_padding)
        last = nn.Conv2d(HIDDEN, 2 * channels, 1)
        self.layers = nn.ModuleList(
            [
                QuantisedLayer(up, gain_in=1, gain_out=UNIT),
                QuantisedLayer(nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), gain_in=UNIT, gain_out=UNIT),
                QuantisedLayer(last, gain_in=UNIT, gain_out=1),
            ]
        )
        last.weight.data *= 0.1

    def quantised_layers(self) -> list[QuantisedLayer]:
        """The layers in order."""
        return [layer for layer in self.layers if isinstance(layer, QuantisedLayer)]

    def quantise(self, on: bool) -> None:
        """Compute as the integers will (True) or in floating point (False)."""
        self.quantised = on
        for layer in self.quantised_layers():
            layer.on = on

    def forward(self, z_hat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """z_hat -> (index, mean), rounded to what the integers give when quantised."""
        a = z_hat
        for layer in self.layers[:-1]:
            a = layer(a).clamp(0, MAGNITUDE / UNIT)
            a = _round(a, UNIT) if self.quantised else a
        index, mean = self.layers[-1](a).chunk(2, 1)
        index, mean = index.clamp(0, len(SCALES) - 1), mean / MEAN_STEPS
        return (_round(index), _round(mean, MEAN_STEPS)) if self.quantised else (index, mean)


class AnalysisModule(nn.Module):
    """h_a: y (N, C, H, W) -> z (N, M, h, w), half the size. It also sees |y|, which predicts scales."""

    def __init__(self, channels: int, hyper: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, HIDDEN, 1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, hyper, 1),
        )

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """y -> z, not yet rounded."""
        z: torch.Tensor = self.layers(torch.cat([y, y.abs()], 1))
        return z


class HyperpriorModule(nn.Module):
    """h_a, h_s and the factorized prior of z (CompressAI's entropy bottleneck, while training)."""

    def __init__(self, channels: int, height: int, hyper: int):
        super().__init__()
        self.h_a = AnalysisModule(channels, hyper)
        self.h_s = SynthesisModule(channels, hyper, output_padding=1 - height % 2)
        self.z_prior = EntropyBottleneck(hyper)

    def start_from(self, y: torch.Tensor) -> None:
        """Start from the best prior without side information: one scale a channel."""
        scale = y.square().mean((0, 2, 3)).sqrt().clamp(SCALES[0], SCALES[-1])
        channels = y.shape[1]
        bias = torch.zeros(2 * channels)
        bias[:channels] = torch.log(scale / SCALES[0]) / LOG_SCALE_STEP
        self.h_s.quantised_layers()[-1].layer.bias = nn.Parameter(bias)

    def forward(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits of y and bits of z, both summed over the batch; differentiable in all parameters."""
        z = self.h_a(y)
        _, z_likelihood = self.z_prior(z)
        index, mean = self.h_s(_round(z).clamp(-MAGNITUDE, MAGNITUDE))
        symbols = _round(y - mean)
        return gaussian_bits(symbols, index).sum(), -torch.log2(z_likelihood.clamp(min=TINY)).sum()


def gaussian_bits(symbols: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """-log2 of the mass of [symbol - 1/2, symbol + 1/2] under the zero-mean Gaussian of table ``index``."""
    scale = SCALES[0] * torch.exp(LOG_SCALE_STEP * index)
    # By symmetry the upper tail serves both sides, where float32 still resolves the difference.
    magnitude = symbols.abs()
    upper = torch.special.ndtr((0.5 - magnitude) / scale)
    lower = torch.special.ndtr((-0.5 - magnitude) / scale)
    return -torch.log2((upper - lower).clamp(min=TINY))
