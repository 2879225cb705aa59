# mypy: disable-error-code=no-untyped-def
"""A layer of an exact network on some of its rows: sums in registers, then shift, leak and limits.

Activations are words of four channels: word (group, row, column) holds channels 4 group ... 4 group + 3 as
bytes, the first in the lowest, each with ``dot.ZERO`` added. A layer reads LANES words of two rows at once.

The arguments that describe a layer's input: word ``here + offsets[n] + row * step + column`` of ``a`` is what
tap n of a pixel sees. Its weights: words, blocks of BLOCK channels after one another and in each of them tap
by tap. ``bias`` and ``shift``: int32, whole blocks. ``scratch``: int32, ``scratch_size`` of them.
"""

from __future__ import annotations

from native_denoise.vectors.jit import kernel, row
from native_denoise.vectors.register_block import ROWS
from native_denoise.vectors.simd import LANES, load, store
from runtime.engines.dot import BLOCK, BYTES, ZERO, add_products, keep, zeros
from runtime.engines.words import floats, packed, requantised
from runtime.prior.exact import MAGNITUDE

TILE = ROWS * LANES
"""Sums of a channel in the scratch: those of the upper row before those of the lower."""


def scratch_size(channels: int) -> int:
    """The sums of a tile, and a vector."""
    return channels * TILE + LANES


@kernel
def hidden_rows(
    a, here, step, offsets, weights, bias, shift, leaky, low, high, scratch,
    out, there, down, across, plane, height, width, first, last,
):  # fmt: skip
    """Rows [first, last) of a layer whose outputs are activations.

    out: words; pixel (row, column) of a group is at ``there + group * plane + row * down + column * across``.
    """
    spare = bias.size * TILE
    for top in range(first, last, ROWS):
        for column in range(0, width, LANES):
            # The last row of an odd number is its own neighbour.
            at, below = here + top * step + column, min(1, height - 1 - top) * step
            sum_up(a, at, at + below, offsets, weights, bias.size, scratch)
            for line in range(min(ROWS, height - top)):
                for group in range(out.size // plane):
                    channel = group * BYTES
                    word = packed(
                        output(scratch, channel, line, bias, shift, leaky, low, high),
                        output(scratch, channel + 1, line, bias, shift, leaky, low, high),
                        output(scratch, channel + 2, line, bias, shift, leaky, low, high),
                        output(scratch, channel + 3, line, bias, shift, leaky, low, high),
                    )
                    store(scratch, spare, word)
                    at = there + group * plane + (top + line) * down + column * across
                    for i in range(min(LANES, width - column)):
                        out[at + i * across] = scratch[spare + i]


@kernel
def last_rows(
    a, here, step, offsets, weights, bias, shift, leaky, low, high, scratch,
    out, rungs, scales, height, width, first, last,
):  # fmt: skip
    """Rows [first, last) of the last layer.

    out: float32 (channels, height, width), flat. The first ``scales`` channels are looked up in ``rungs``,
    the nearest where it has none.
    """
    spare = bias.size * TILE
    for top in range(first, last, ROWS):
        for column in range(0, width, LANES):
            at, below = here + top * step + column, min(1, height - 1 - top) * step
            sum_up(a, at, at + below, offsets, weights, bias.size, scratch)
            for line in range(min(ROWS, height - top)):
                for channel in range(out.size // (height * width)):
                    value = output(scratch, channel, line, bias, shift, leaky, low, high)
                    at = (channel * height + top + line) * width + column
                    count = min(LANES, width - column)
                    if count == LANES and channel >= scales:
                        store(out, at, floats(value))
                        continue
                    store(scratch, spare, value)
                    for i in range(count):
                        value = scratch[spare + i]
                        out[at + i] = rungs[min(max(value, 0), rungs.size - 1)] if channel < scales else value


@row
def sum_up(a, upper, lower, offsets, weights, channels, scratch):
    """The sums of all channels at LANES pixels of two rows."""
    taps = offsets.size
    for block in range(0, channels, BLOCK):
        sums = zeros()
        for tap in range(taps):
            x, y = load(a, offsets[tap] + upper), load(a, offsets[tap] + lower)
            sums = add_products(sums, weights, block * taps + tap * BLOCK, x, y)
        keep(scratch, block * TILE, sums)


@row
def output(scratch, channel, line, bias, shift, leaky, low, high):
    """What a channel's sums become in one of the rows."""
    sums = load(scratch, channel * TILE + line * LANES)
    return requantised(sums, bias[channel], shift[channel], leaky, low, high)


@kernel
def pack_input(z, out, there, down, plane):
    """z, int32 (channels, height, width), limited to +-MAGNITUDE -> words, as ``hidden_rows`` writes them."""
    channels, height, width = z.shape
    for group in range((channels + BYTES - 1) // BYTES):
        for y in range(height):
            for x in range(width):
                word = 0
                for number in range(BYTES):
                    channel = group * BYTES + number
                    value = z[channel, y, x] if channel < channels else 0
                    value = min(max(value, -MAGNITUDE), MAGNITUDE)
                    word |= (value + ZERO & 255) << 8 * number
                out[there + group * plane + y * down + x] = word
