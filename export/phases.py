"""A transposed convolution of stride s as a convolution of stride 1 to s * s times the channels.

Along one axis, output s m + r sums the weights k over the inputs i with s i + k - padding = s m + r: those
are the weights r + padding - s j of the inputs m + j. So each of the s *phases* r is a convolution at the
input's resolution, and their outputs in turns are the output:

    weights of phase r:  w[r + padding - s j]   at the taps   j = first .. last

Engines run it as they run any convolution, where a transposed one is a matrix product and a scattered sum:
ONNX Runtime's has one thread. The sums are those of the transposed convolution, and zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.prior.exact import Layer


@dataclass(frozen=True)
class Phases:
    """The convolution that stands for a transposed layer.

    weight: int32 (s C s, in, k, k); its channels are (phase of the columns, channel, phase of the rows),
        the order from which they are sorted fastest: columns by a transposed matrix, rows by whole rows.
    before, after: rows and columns of zeros that it pads its input with.
    """

    weight: NDArray[np.int32]
    before: int
    after: int

    @property
    def reach(self) -> int:
        """By how many rows and columns its outputs exceed its inputs."""
        return self.before + self.after + 1 - self.weight.shape[2]


def phases(layer: Layer) -> Phases:
    """The phases of a transposed layer. They make at least its outputs: what is beyond has to be cropped."""
    stride, padding, kernel = layer.stride, layer.padding, layer.weight.shape[2]
    first = min(0, -((kernel - 1 - padding) // stride))
    last = (stride - 1 + padding) // stride
    wanted = np.add.outer(np.arange(stride) + padding, -stride * np.arange(first, last + 1))
    at = np.where((wanted >= 0) & (wanted < kernel), wanted, kernel)  # (phase, tap); ``kernel`` is a zero
    padded = np.pad(layer.weight, ((0, 0), (0, 0), (0, 1), (0, 1)))
    taps = padded[:, :, at[:, :, None, None], at]  # (in, C, row phase, row tap, column phase, column tap)
    weight = taps.transpose(4, 1, 2, 0, 3, 5).reshape(-1, len(layer.weight), at.shape[1], at.shape[1])
    # Past the input's end reach the last tap and what an output_padding adds.
    beyond = -(-(kernel + layer.output_padding - 2 * padding - stride) // stride)
    return Phases(np.ascontiguousarray(weight), -first, max(0, last + beyond))


def of_phases(values: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """What belongs to each channel, (C,), in the order of the channels of ``Phases``."""
    return np.tile(np.repeat(values, stride), stride)
