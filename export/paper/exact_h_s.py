"""Convert a published h_s to the exact integer network of ``runtime.prior.exact``.

    z -> 1x1: counts 1/2**k and adds the medians -> three convolutions -> look-up of the scales' table indices

Nothing is trained; photographs calibrate. Each channel of activations is scaled to fill -127 .. 127, and each
row of weights has its own shift. Each bias compensates the mean error on the photographs, including the
rounding of earlier layers. A look-up turns scales into indices, so that no layer has to learn a logarithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import SCALES, scale_index
from runtime.prior.exact import ACCUMULATOR_LIMIT, MAGNITUDE, IntegerNetwork, Layer

SCALE_STEPS = 64
"""Steps of a scale in one symbol: the smallest of the tables, 0.11, is 7 of them wide."""

CLIPS = (5.0, 6.0, 8.0, 11.0)
"""Candidates for the clipping point of activations, in standard deviations about zero: rare large values cost
all others precision."""

HEADROOM = 0.9  # of the accumulators' limit: rounding the weights adds to the sums
FINEST_INPUT = 3  # z comes in eighths at the finest: finer than its medians need
TINY = 1e-12

Convolution = nn.Conv2d | nn.ConvTranspose2d


@dataclass(frozen=True)
class _Scaled:
    """A convolution between quantised activations; ``2**shift`` turns its float64 weights into integers."""

    layer: Convolution
    weight: torch.Tensor

    @property
    def rows(self) -> torch.Tensor:
        """The weights as a matrix, (out, weights of one output)."""
        transposed = isinstance(self.layer, nn.ConvTranspose2d)
        return (self.weight.transpose(0, 1) if transposed else self.weight).flatten(1)

    def finest(self, bias: torch.Tensor) -> torch.Tensor:
        """The largest factor of each row at which its weights fit into 8 bits and its sums stay exact.

        ``bias``: (out,), its magnitude in units of the output.
        """
        rows = self.rows.abs()
        room = HEADROOM * ACCUMULATOR_LIMIT - MAGNITUDE * rows.shape[1] / 2
        sums = MAGNITUDE * rows.sum(1) + bias
        return torch.minimum(MAGNITUDE / rows.amax(1).clamp(min=TINY), room / sums.clamp(min=TINY))

    def integers(self, shift: torch.Tensor) -> torch.Tensor:
        """The weights times ``2**shift``, (out,), rounded."""
        shape = (1, -1, 1, 1) if isinstance(self.layer, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        return (self.weight * 2.0 ** shift.reshape(shape)).round().clamp(-MAGNITUDE, MAGNITUDE)

    def apply(self, a: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The convolution with other weights and without a bias."""
        layer = self.layer
        assert not isinstance(layer.padding, str)
        if isinstance(layer, nn.ConvTranspose2d):
            return functional.conv_transpose2d(
                a, weight, None, layer.stride, layer.padding, layer.output_padding
            )
        return functional.conv2d(a, weight, None, layer.stride, layer.padding)


@torch.no_grad()
def exact_h_s(h_s: nn.Sequential, medians: torch.Tensor, z: torch.Tensor, clip: float) -> IntegerNetwork:
    """The integer network of ``h_s``, calibrated on ``z``.

    Args:
        h_s: convolutions without bias, LeakyReLU between them; it returns scales, then means.
        medians: float32 (M,); z_hat is the symbols of z plus these.
        z: float32 (N, M, h, w), symbols of z of photographs: whole numbers.
        clip: see ``CLIPS``.

    Raises:
        BundleError: its sums do not fit the exact arithmetic.
    """
    z, medians = z.double().clamp(-MAGNITUDE, MAGNITUDE), medians.double().view(1, -1, 1, 1)
    exact = z + medians  # the activations in floating point; ``a`` are the integers that stand for them
    first = _input_layer(exact, medians, clip)
    a = _run(first, z)
    gain = torch.full((z.shape[1],), float(first.weight[0, 0, 0, 0]), dtype=torch.float64)
    layers, convolutions = [first], [m for m in h_s if isinstance(m, Convolution)]
    for convolution in convolutions[:-1]:
        wanted = _exactly(convolution, exact)
        exact = functional.leaky_relu(wanted)
        top = _top(exact, clip)
        gain_out = torch.where(top > 0, MAGNITUDE / top.clamp(min=TINY), 0.0)
        # Where activations are small against their weights' sums, 8-bit weights cannot give finer steps.
        gain_out *= _scaled(convolution, gain, gain_out).finest(gain_out * _offset(wanted)).clamp(max=1)
        layer = _quantised(_scaled(convolution, gain, gain_out), a, wanted, gain_out, MAGNITUDE, leaky=True)
        a, gain = _run(layer, a), gain_out
        layers.append(layer)
    wanted = _exactly(convolutions[-1], exact)
    steps = torch.tensor([SCALE_STEPS, MEAN_STEPS], dtype=torch.float64)
    gain_out = steps.repeat_interleave(wanted.shape[1] // 2)
    last = _scaled(convolutions[-1], gain, gain_out)
    layers.append(_quantised(last, a, wanted, gain_out, ACCUMULATOR_LIMIT, leaky=False))
    rungs = scale_index(np.arange(math.ceil(SCALES[-1]) * SCALE_STEPS) / SCALE_STEPS)
    return IntegerNetwork(tuple(layers), rungs)


def _top(a: torch.Tensor, clip: float) -> torch.Tensor:
    """The largest magnitude that each channel keeps, (C,)."""
    return torch.minimum(a.abs().amax((0, 2, 3)), clip * a.square().mean((0, 2, 3)).sqrt())


def _offset(wanted: torch.Tensor) -> torch.Tensor:
    """Bound on the error that a bias may have to compensate, (C,)."""
    return wanted.mean((0, 2, 3)).abs()


def _input_layer(z_hat: torch.Tensor, medians: torch.Tensor, clip: float) -> Layer:
    """The layer z -> z + medians in steps of 1/2**k, with the largest k at which it fits."""
    largest = float(_top(z_hat, clip).max().clamp(min=1.0, max=MAGNITUDE))
    unit = 2 ** min(FINEST_INPUT, math.floor(math.log2(MAGNITUDE / largest)))
    count = z_hat.shape[1]
    bias = (medians.flatten() * unit).round().clamp(-MAGNITUDE, MAGNITUDE)
    return Layer(
        weight=(np.eye(count, dtype=np.int32) * unit)[:, :, None, None],
        bias=bias.numpy().astype(np.int32),
        transposed=False, stride=1, padding=0, output_padding=0, shift=0, low=-MAGNITUDE, high=MAGNITUDE,
    )  # fmt: skip


def _exactly(convolution: Convolution, a: torch.Tensor) -> torch.Tensor:
    return _Scaled(convolution, convolution.weight.double()).apply(a, convolution.weight.double())


def _scaled(convolution: Convolution, gain_in: torch.Tensor, gain_out: torch.Tensor) -> _Scaled:
    """Inputs come in steps of 1 / gain_in, outputs of 1 / gain_out; a channel that is always 0 has gain 0."""
    per_input = torch.where(gain_in > 0, 1 / gain_in.clamp(min=TINY), 0.0)
    if isinstance(convolution, nn.ConvTranspose2d):
        scale = per_input.view(-1, 1, 1, 1) * gain_out.view(1, -1, 1, 1)
    else:
        scale = per_input.view(1, -1, 1, 1) * gain_out.view(-1, 1, 1, 1)
    return _Scaled(convolution, convolution.weight.double() * scale)


def _quantised(
    scaled: _Scaled, a: torch.Tensor, wanted: torch.Tensor, gain: torch.Tensor, limit: int, leaky: bool
) -> Layer:
    """The integer layer that maps the integers ``a`` to ``wanted``, in steps of 1 / gain."""
    target = (wanted * gain.view(1, -1, 1, 1)).mean((0, 2, 3))
    lacking = target - scaled.apply(a, scaled.weight).mean((0, 2, 3))
    shift = scaled.finest(lacking.abs()).log2().floor().clamp(0, 20)
    unit, weight = 2.0**shift, scaled.integers(shift)
    bias = target * unit - scaled.apply(a, weight).mean((0, 2, 3)) + (unit / 2).floor()
    convolution = scaled.layer
    return Layer(
        weight=weight.numpy().astype(np.int32),
        bias=bias.round().numpy().astype(np.int32),
        transposed=isinstance(convolution, nn.ConvTranspose2d),
        stride=convolution.stride[0],
        padding=int(convolution.padding[0]),
        output_padding=int(convolution.output_padding[0]),
        shift=shift.numpy().astype(np.int32),
        low=-limit, high=limit, leaky=leaky,
    )  # fmt: skip


def _run(layer: Layer, a: torch.Tensor) -> torch.Tensor:
    """Run a layer on a batch; float64 in and out, which holds the integers exactly."""
    return torch.stack([torch.from_numpy(layer(one.numpy().astype(np.int32))) for one in a]).double()
