"""Resamples a picture as it lies in memory: RGB, BGR or grey, mirrored, cropped, with padded rows; or NV12.

Only the bytes that a tap reads are touched, and none is copied beforehand. Threads share the output's rows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.pixels import LANES, TILE
from native_denoise.vectors.threads import available, share
from runtime.preprocess import kernels
from runtime.preprocess.kernels import Axis, Work
from runtime.preprocess.nv12 import Nv12
from runtime.preprocess.placement import Placement

SHARED_BYTES = 1 << 19
"""Bytes of the picture for each thread, at least: 0.2 ms, four times what it takes to wake one up."""

MOST_STEP = 8
"""Most bytes from a pixel to the next; planes and turned pictures have more, and are copied first."""


@dataclass(frozen=True)
class Band:
    """Rows of the output that one thread makes, from ``begin``, of ``rows`` rows of the picture from ``top``.

    down: the taps of these rows, counted from ``top``.
    """

    begin: int
    top: int
    rows: int
    down: Axis


def resample(
    picture: NDArray[np.uint8] | Nv12, placement: Placement, out: NDArray[np.generic], threads: int | None
) -> None:
    """Write the resampled part of a picture to its place in ``out``, (3, S, S) and contiguous.

    picture: uint8 (H, W, 3) with any strides, or NV12. out: uint8, or float32 in [0, 1]. threads: at most so
    many; None: as many as there are cores.
    """
    across, (left, right) = _across(placement)
    rows, (_, _, wide, _) = placement.taps()[1].span, placement.at
    most = (rows[1] - rows[0]) * (right - left) * 3 // SHARED_BYTES
    bands = _bands(placement, max(1, min(threads or available(), most)))
    if isinstance(picture, Nv12) and right - left < TILE:
        picture = picture.rgb()
    unit = np.uint8(1) if out.dtype == np.uint8 else np.float32(1 / 255)
    pitch, x, y = -(-wide // LANES) * LANES, *placement.at[:2]
    if isinstance(picture, Nv12):
        luma, chroma = _dense(picture.luma, 1), _dense(picture.chroma, 2)
        even, matrix = left // 2 * 2, picture.coefficients
        width = -(-(right - even) // 2) * 2
        across = across._replace(first=across.first + (left - even))
        light, colour = _address(luma) + even, _address(chroma) + even

        def make(number: int) -> None:
            band = bands[number]
            work = _work(3 * width, band.rows, pitch, 3 * width * LANES)
            kernels.from_nv12(
                light, luma.strides[0], colour, chroma.strides[0], band.top, band.rows, width, matrix,
                across, band.down, work, out, unit, x, y + band.begin,
            )  # fmt: skip
    else:
        step, pixel, channel = picture.strides
        if max(abs(pixel), abs(2 * channel)) > MOST_STEP:
            picture = np.ascontiguousarray(picture)
            step, pixel, channel = picture.strides
        # The pixels of a row from the lowest byte on, whichever way they go.
        low = min((right - left - 1) * pixel, 0) + min(2 * channel, 0)
        bytes_of_row = (right - left - 1) * abs(pixel) + 2 * abs(channel) + 1
        channels = (-low, channel - low, 2 * channel - low)
        begin = _address(picture) + left * pixel + low

        def make(number: int) -> None:
            band = bands[number]
            kernels.from_interleaved(
                begin + band.top * step, step, band.rows, bytes_of_row, pixel, channels, across, band.down,
                _work(bytes_of_row, band.rows, pitch, 0), out, unit, x, y + band.begin,
            )  # fmt: skip

    share(make, len(bands))


@functools.lru_cache(maxsize=32)
def _across(placement: Placement) -> tuple[Axis, tuple[int, int]]:
    """The taps along rows, counted from the first column that is read, and the span of these columns."""
    taps = placement.taps()[0]
    first = taps.first.astype(np.int64) - taps.span[0]
    return Axis(first, taps.count, taps.weights.reshape(-1), taps.weights.shape[1]), taps.span


@functools.lru_cache(maxsize=32)
def _bands(placement: Placement, count: int) -> list[Band]:
    """As many bands as there are threads; rows that two of them need are resampled by both."""
    taps, tall = placement.taps()[1], placement.at[3]
    bands = []
    for number in range(min(count, tall)):
        rows = slice(*(tall * n // min(count, tall) for n in (number, number + 1)))
        first, counts = taps.first[rows].astype(np.int64), taps.count[rows]
        top, end = int(first[0]), int((first + counts).max())
        down = Axis(first - top, counts, taps.weights[rows].reshape(-1), taps.weights.shape[1])
        bands.append(Band(rows.start, top, end - top, down))
    return bands


def _work(bytes_of_row: int, rows: int, pitch: int, scratch: int) -> Work:
    sizes = bytes_of_row * LANES, 3 * pitch * LANES, max(rows, LANES) * 3 * pitch, 3 * pitch, scratch
    columns, turned, narrow, line, of_rows = (np.empty(size, dtype=np.uint8) for size in sizes)
    return Work(columns, turned, narrow, line, of_rows, pitch)


def _dense(plane: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """The plane, copied where the bytes of its rows do not follow each other."""
    dense = plane.strides[1] == pixel and plane.strides[-1] == 1
    return plane if dense else np.ascontiguousarray(plane)


def _address(array: NDArray[np.uint8]) -> int:
    """Of the element whose indices are 0."""
    address: int = array.__array_interface__["data"][0]
    return address
