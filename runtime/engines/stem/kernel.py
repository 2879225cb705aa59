# mypy: disable-error-code=no-untyped-def
"""Two convolutions of stride 2 and their GDNs in one pass over the rows of an image.

The first, of an image's few channels, is summed as it stands, and the second, of many, by ``minimal_kernel``,
which takes the rows of the first as soon as they are there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.jit import kernel, row
from native_denoise.vectors.simd import LANES, load, splat, store
from runtime.engines.stem.gdn import BLOCK, TILE, add_products, keep, normalised, scatter_apart, zeros
from runtime.engines.stem.register_block import ROWS
from runtime.engines.stem.winograd import OUTPUTS, RING, four_rows, slot

Array = NDArray[np.float32]


class Direct(NamedTuple):
    """A convolution and its GDN, for a kernel.

    planes: the image; tap n of pixel (row, column) is at ``offsets[n] + row * step + column``.
    weights: channels in blocks, and in each of them tap by tap. gamma, beta: as in ``gdn_kernel.normalised``.
    side: of the output, a multiple of ``LANES``.
    """

    planes: Array
    offsets: NDArray[np.int64]
    step: int
    weights: Array
    gamma: Array
    beta: Array
    side: int


@kernel
def lay_out(image, mean, planes, padding):
    """image, float32 (c, side, side), less the mean of each channel to ``planes``, (c, rows, 2, columns): its
    columns of even and of odd number apart, behind ``padding`` rows and half as many columns.
    """
    for c in range(image.shape[0]):
        for y in range(image.shape[1]):
            line = image[c, y]
            even, odd = planes[c, y + padding, 0, padding // 2 :], planes[c, y + padding, 1, padding // 2 :]
            for x in range(line.size // 2):
                even[x], odd[x] = line[2 * x] - mean[c], line[2 * x + 1] - mean[c]


@kernel
def stem(first, second, work, out, begin, end):
    """Groups [begin, end) of OUTPUTS rows of what the second level returns, (channels, side, side), flat.

    first, second: ``Direct`` and ``Minimal``. work: ``WinogradWorkspace``.
    """
    done = 2 * OUTPUTS * begin - 2
    for group in range(begin, end):
        while done < 2 * OUTPUTS * group - 2 + RING:
            if 0 <= done < first.side:
                _two_rows(first, done, work, second.stride)
            else:
                for i in range(0, ROWS * second.stride, LANES):
                    store(work.rows, slot(done, second.stride) + i, splat(np.float32(0)))
            done += ROWS
        four_rows(second, group, work, out)


@row
def _two_rows(level, y, work, stride):
    """Rows ``y`` and ``y`` + 1 of the first level."""
    channels, taps = level.beta.size, level.offsets.size
    odd = stride // (2 * channels)
    for column in range(0, level.side, LANES):
        here = y * level.step + column
        for block in range(0, channels, BLOCK):
            sums = zeros()
            for tap in range(taps):
                at = level.offsets[tap] + here
                upper, lower = load(level.planes, at), load(level.planes, at + level.step)
                sums = add_products(sums, level.weights, block * taps + tap * BLOCK, upper, lower)
            keep(work.tile, block * TILE, sums)
        for block in range(0, channels, BLOCK):
            quotients = normalised(work.tile, 0, level.gamma, level.beta, block)
            at = slot(y, stride) + 2 * block * odd + 1 + column // 2
            scatter_apart(work.rows, at, odd, stride, 2 * odd, quotients)
