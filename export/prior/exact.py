"""Float h_s -> exact integer h_s, and what that costs in bytes."""

from __future__ import annotations

import numpy as np
import torch

from export.prior.factorized import channel_bits, channel_tables
from export.prior.hyperprior import HyperpriorModule, SynthesisModule
from runtime.codec.tables import gaussian_tables
from runtime.prior.exact import MAGNITUDE, IntegerNetwork, Layer

PARAMETER_LIMIT = 2047  # of the last layer: means up to 128 symbols


def integer_network(synthesis: SynthesisModule) -> IntegerNetwork:
    """The integer network of a trained h_s. Raises BundleError when its sums could overflow."""
    layers = []
    quantised = synthesis.quantised_layers()
    for layer in quantised:
        weight, bias = layer.integer_parameters()
        convolution = layer.layer
        last = layer is quantised[-1]
        layers.append(
            Layer(
                weight=weight.detach().numpy().astype(np.int32),
                bias=bias.detach().numpy().astype(np.int32),
                transposed=isinstance(convolution, torch.nn.ConvTranspose2d),
                stride=convolution.stride[0],
                padding=int(convolution.padding[0]),
                output_padding=convolution.output_padding[0],
                shift=layer.shift,
                low=-PARAMETER_LIMIT if last else 0,
                high=PARAMETER_LIMIT if last else MAGNITUDE,
            )
        )
    return IntegerNetwork(tuple(layers))


@torch.no_grad()
def code_size(model: HyperpriorModule, y: torch.Tensor) -> tuple[float, float]:
    """Bits of y and of z for one frame under the integer tables; h_s computes in its current mode.

    In floating point each scale takes the nearest table and means are not rounded: the best that these
    tables allow. The tables of z are fitted to the z of this ``y``.
    """
    scales = gaussian_tables()
    y_bits, z_symbols = 0.0, []
    for batch in y.split(128):
        z = torch.round(model.h_a(batch))
        z_symbols.append(z)
        index, mean = model.h_s(z.clamp(-MAGNITUDE, MAGNITUDE))
        symbols = torch.round(batch - mean).int().numpy()
        y_bits += scales.information_bits(symbols, np.rint(index.numpy()).astype(np.int32)).sum(
            dtype=np.float64
        )
    z_all = torch.cat(z_symbols)
    return float(y_bits) / len(y), channel_bits(channel_tables(z_all), z_all)
