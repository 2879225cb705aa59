"""The polyphase decomposition of a transposed convolution: a plain convolution that computes all its phases.

With a stride s, output (i, j) belongs to the phase (i mod s, j mod s). Each phase is a plain convolution of
the input with every s-th tap of the kernel. So one convolution with s * s times the channels computes them
all; interleaved and cropped, they are the outputs of the transposed convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.prior.exact import Layer


@dataclass(frozen=True)
class Polyphase:
    """The plain convolution, of stride 1, that stands for a transposed layer.

    weight: int32 (s C s, in, k, k). Its channels run over (column phase, channel, row phase): the order that
        interleaves fastest, columns by one transposed matrix, rows by whole rows.
    before, after: rows and columns of zeros that pad its input.
    """

    weight: NDArray[np.int32]
    before: int
    after: int

    @property
    def growth(self) -> int:
        """How many rows and columns its outputs have more than its inputs."""
        return self.before + self.after + 1 - self.weight.shape[2]


def polyphase(layer: Layer) -> Polyphase:
    """The decomposition of a transposed layer; interleaved, its outputs may exceed the layer's: crop them."""
    stride, padding, kernel = layer.stride, layer.padding, layer.weight.shape[2]
    first = min(0, -((kernel - 1 - padding) // stride))
    last = (stride - 1 + padding) // stride
    wanted = np.add.outer(np.arange(stride) + padding, -stride * np.arange(first, last + 1))
    at = np.where((wanted >= 0) & (wanted < kernel), wanted, kernel)  # (phase, tap); ``kernel`` is a zero
    padded = np.pad(layer.weight, ((0, 0), (0, 0), (0, 1), (0, 1)))
    taps = padded[:, :, at[:, :, None, None], at]  # (in, C, row phase, row tap, column phase, column tap)
    weight = taps.transpose(4, 1, 2, 0, 3, 5).reshape(-1, len(layer.weight), at.shape[1], at.shape[1])
    # The last tap, and an output_padding, reach beyond the input's end.
    beyond = -(-(kernel + layer.output_padding - 2 * padding - stride) // stride)
    return Polyphase(np.ascontiguousarray(weight), -first, max(0, last + beyond))


def repeat_for_phases(values: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Values of each channel, (C,), repeated for the channels of ``Polyphase``, (s C s,)."""
    return np.tile(np.repeat(values, stride), stride)
