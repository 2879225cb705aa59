"""2x2 convolutions with 9 products instead of 16 for each 2x2 outputs: Winograd's F(2x2, 2x2).

Along one axis, two outputs of the taps g0, g1 on the inputs d0, d1, d2 share a product:

    y0 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 (g0 + g1) - (d1 - d2) g1

The decoder of a paper's network spends most of its time in two wide convolutions of this kind, where the CPU
multiplies as fast as it can: only fewer products make it faster. Differences are depthwise convolutions of
stride 2 and products are 1x1 convolutions, so a CPU engine keeps its own memory layout. The result equals the
convolution's up to rounding (1e-6 of the largest value); the weights take 9/4 of the space.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

from itertools import product
from typing import TypeGuard

import torch
from torch import nn
from torch.nn import functional

WIDE = 128
"""Input channels from which it pays: differences cost a channel each, products a channel and output each."""

_TAPS = torch.tensor([[1, 0], [1, 1], [0, -1]], dtype=torch.float64)  # g0, g0 + g1, -g1
_INPUTS = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, -1.0]])  # d0 - d1, d1, d1 - d2


def pays(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a convolution that ``TiledConv`` can replace, and wide enough to gain."""
    if not isinstance(layer, nn.Conv2d) or layer.in_channels < WIDE:
        return False
    return (layer.kernel_size, layer.stride, layer.groups, layer.bias) == ((2, 2), (1, 1), 1, None)


class TiledConv(nn.Module):
    """Computes ``convolution``, which has kernel 2, stride 1, padding 0 or 1 and no bias."""

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        weight = convolution.weight.detach()
        taps = torch.einsum("ai,bj,ocij->aboc", _TAPS, _TAPS, weight.double()).to(weight.dtype)
        channels = weight.shape[1]
        self.padding = int(convolution.padding[0])
        self.products = nn.ParameterList(taps[a, b, :, :, None, None] for a, b in product(range(3), repeat=2))
        self.differences = nn.ParameterList(
            torch.outer(_along(a), _along(b)).to(weight).expand(channels, 1, -1, -1).clone()
            for a, b in product(range(3), repeat=2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, C, S, S), S even without padding and odd with it -> (N, O, S +- 1, S +- 1).

        Raises ValueError for another S.
        """
        if x.shape[-1] % 2 != self.padding:
            raise ValueError(f"{x.shape[-1]} inputs and padding {self.padding} make no whole tiles")
        m = [self._product(x, *weights) for weights in zip(self.differences, self.products, strict=True)]
        left = [m[row] + m[row + 1] for row in (0, 3, 6)]
        right = [m[row + 1] + m[row + 2] for row in (0, 3, 6)]
        rows = [torch.stack([left[i] + left[i + 1], right[i] + right[i + 1]], -1).flatten(3) for i in (0, 1)]
        y = torch.stack(rows, 3).flatten(2, 3)
        # Tiles begin one input early: without padding their first outputs do not exist.
        return y if self.padding else y[:, :, 1:, 1:]

    def _product(self, x: torch.Tensor, difference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        height, width = difference.shape[2:]
        if height == width == 1:
            return functional.conv2d(x, weight, stride=2)
        between = functional.conv2d(x, difference, None, 2, (height // 2, width // 2), groups=x.shape[1])
        return functional.conv2d(between, weight)


def _along(n: int) -> torch.Tensor:
    """Weights of d0, d1, d2 in the n-th factor; only that of d1 where the factor is d1."""
    return _INPUTS[n, 1:2] if n == 1 else _INPUTS[n]
