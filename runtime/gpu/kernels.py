# mypy: disable-error-code=no-untyped-def
"""What a GPU does with a frame besides networks and denoising: pixels -> input, latents -> mask.

    NV12 --nv12_to_rgb--> uint8 HWC                                            as runtime.preprocess
    uint8 HWC --resize_along_rows--> --resize_to_input--> float32 NCHW         as runtime.preprocess
    y, parameters --symbol_likelihood--> --likelihood_map--> --resize_map--> mask     as runtime.latent

Everything is in single precision or in integers, except ``round``, for which Numba goes through double.
"""

from __future__ import annotations

import numpy as np

from native_denoise.cuda.device import cuda
from native_denoise.vectors.fixed_point import MATRIX_BITS, WEIGHT_BITS
from runtime.codec.limits import LATENT_LIMIT, MEAN_STEPS
from runtime.preprocess import PADDING
from runtime.prior.exact import MAGNITUDE

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
QUARTER = np.float32(0.25)
LIMIT, MAGNITUDE_LIMIT = np.float32(LATENT_LIMIT), np.float32(MAGNITUDE)
LEVEL = np.float32(1 / 255)
PADDED = np.float32(PADDING) * LEVEL
MEAN_STEP = np.float32(1 / MEAN_STEPS)
ROUNDING = 1 << (WEIGHT_BITS - 1)

ADDERS = 32
"""Threads that share the sum over the channels at one position; a power of two."""


def nv12_to_rgb(luma, chroma, matrix, out):
    """NV12, uint8 (H, W) and (H/2, W/2, 2), to RGB, uint8 (H, W, 3); matrix: int32 (5,)."""
    x, y = cuda.grid(2)
    if x >= out.shape[1] or y >= out.shape[0]:
        return
    light = max(np.int32(luma[y, x]) - 16, 0) * matrix[0] + (1 << (MATRIX_BITS - 1))
    u, v = np.int32(chroma[y // 2, x // 2, 0]) - 128, np.int32(chroma[y // 2, x // 2, 1]) - 128
    out[y, x, 0] = min(max((light + matrix[1] * v) >> MATRIX_BITS, 0), 255)
    out[y, x, 1] = min(max((light + matrix[2] * u + matrix[3] * v) >> MATRIX_BITS, 0), 255)
    out[y, x, 2] = min(max((light + matrix[4] * u) >> MATRIX_BITS, 0), 255)


def resize_along_rows(image, first, weights, out):
    """An image, uint8 (rows, W, 3), to a new width: uint8 (rows, w, 3)."""
    x, y = cuda.grid(2)
    if x >= out.shape[1] or y >= out.shape[0]:
        return
    taps = min(weights.shape[1], image.shape[1] - first[x])
    for channel in range(3):
        total = ROUNDING
        for k in range(taps):
            total += image[y, first[x] + k, channel] * weights[x, k]
        out[y, x, channel] = min(max(total >> WEIGHT_BITS, 0), 255)


def resize_to_input(rows, first, weights, left, upper, out):
    """The same along columns, to (left, upper) of the input, float32 (1, 3, S, S); the rest is padding."""
    x, y = cuda.grid(2)
    if x >= out.shape[3] or y >= out.shape[2]:
        return
    column, line = x - left, y - upper
    if column < 0 or column >= rows.shape[1] or line < 0 or line >= first.size:
        for channel in range(3):
            out[0, channel, y, x] = PADDED
        return
    taps = min(weights.shape[1], rows.shape[0] - first[line])
    for channel in range(3):
        total = ROUNDING
        for k in range(taps):
            total += rows[first[line] + k, column, channel] * weights[line, k]
        out[0, channel, y, x] = np.float32(min(max(total >> WEIGHT_BITS, 0), 255)) * LEVEL


def hyper_symbols(z, out):
    """z (1, C, H, W) -> the symbols that the exact h_s takes: rounded, clipped to its input's range."""
    i = cuda.grid(1)
    if i < z.size:
        value = min(max(z[i], -MAGNITUDE_LIMIT), MAGNITUDE_LIMIT)
        out[i] = np.float32(round(value))


def symbol_likelihood(y, parameters, mass, start, last, offset, out):
    """Likelihood of each symbol of y under its table: 2**-bits of ``Tables.information_bits``.

    All are flat. ``parameters`` (2 n,) is what h_s returns: table indices, then means in sixteenths; with a
    factorized prior each channel's own table, and zeros. ``mass``: count / 2**24 of each entry of the tables.
    """
    i = cuda.grid(1)
    if i >= y.size:
        return
    table = min(max(int(parameters[i]), 0), last.size - 1)
    value = min(max(y[i], -LIMIT), LIMIT) - parameters[y.size + i] * MEAN_STEP
    position = round(value) - offset[table]
    if 0 <= position < last[table]:
        out[i] = mass[start[table] + position]
        return
    likelihood = mass[start[table] + last[table]]
    distance = -position if position < 0 else position - last[table] + 1
    while distance > 0:  # sign and Elias-gamma code: two bits for each binary digit
        likelihood *= QUARTER
        distance >>= 1
    out[i] = likelihood


def likelihood_map(likelihood, share, out):
    """Mean likelihood at each feature position, (H P, W P): one block of ``ADDERS`` threads a position.

    likelihood: (C, H, W). share: (C, P, P), how much of a position of its patch each channel is.
    """
    sums = cuda.shared.array(ADDERS, np.float32)
    me, x, y = cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y
    patch = share.shape[1]
    total = ZERO
    for channel in range(me, likelihood.shape[0], ADDERS):
        total += likelihood[channel, y // patch, x // patch] * share[channel, y % patch, x % patch]
    sums[me] = total
    cuda.syncthreads()
    reach = ADDERS // 2
    while reach > 0:
        if me < reach:
            sums[me] += sums[me + reach]
        cuda.syncthreads()
        reach //= 2
    if me == 0:
        out[y, x] = min(sums[0], ONE)


def resize_map(small, out):
    """A map (h, w) to a mask (1, S, S): bilinear between the centres of the positions, constant outside."""
    x, y = cuda.grid(2)
    if x >= out.shape[2] or y >= out.shape[1]:
        return
    rows, columns = small.shape[0], small.shape[1]
    down = (np.float32(y) + HALF) * np.float32(rows) / np.float32(out.shape[1]) - HALF
    along = (np.float32(x) + HALF) * np.float32(columns) / np.float32(out.shape[2]) - HALF
    down = min(max(down, ZERO), np.float32(rows - 1))
    along = min(max(along, ZERO), np.float32(columns - 1))
    i, j = int(down), int(along)
    below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
    v, u = down - np.float32(i), along - np.float32(j)
    upper = (ONE - u) * small[i, j] + u * small[i, right]
    lower = (ONE - u) * small[below, j] + u * small[below, right]
    out[0, y, x] = (ONE - v) * upper + v * lower
