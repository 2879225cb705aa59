"""A picture's rows -> planes of another size, in integers: loops compiled on first use, kept on disk.

    32 rows --turn--> columns --weighted--> fewer columns --turn--> narrow rows --weighted--> planes

Both passes sum whole vectors: along rows, ``LANES`` rows at a time; along columns, as many pixels of a row.
Arrays are 1-D and uint8 unless said otherwise. Memory is read at addresses; ``runtime.preprocess.resampler``
sees to it that they are inside the picture.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any, NamedTuple

from native_denoise.vectors.jit import compiled
from native_denoise.vectors.pixels import LANES, TILE, byte_at, coloured, turn, weighted

_kernel = compiled(_nrt=False, error_model="numpy")


class Axis(NamedTuple):
    """Taps of one axis: for each pixel of the output its first pixel, their number and their weights.

    first, count: int64 (S,). weights: int32, ``reach`` for each pixel of the output, one after the other.
    """

    first: Any
    count: Any
    weights: Any
    reach: int


class Work(NamedTuple):
    """Memory of one thread; ``pitch`` is the width of the output, rounded up to whole vectors.

    columns: ``LANES`` bytes for each byte of a row. turned: ``LANES`` for each of 3 * pitch.
    narrow: 3 * pitch for each row, of ``LANES`` rows at least. line: 3 * pitch. rows: ``LANES`` rows of RGB,
    plane after plane; empty where the picture is RGB.
    """

    columns: Any
    turned: Any
    narrow: Any
    line: Any
    rows: Any
    pitch: int


@_kernel
def from_interleaved(address, step, rows, width, pixel, channels, across, down, work, out, unit, x, y):
    """Resample ``rows`` rows of ``width`` bytes, ``step`` bytes apart, to ``out``, (3, S, S), from
    (x, y) on.

    unit: what a level of 1 is in ``out``: uint8 1, or float32 1/255.
    pixel: bytes from a pixel to the next. channels: of R, G and B in the pixel that ``across`` calls 0.
    """
    begin = 0
    while begin < rows:
        row = max(min(begin, rows - LANES), 0)  # the last rows are done again where they fill no vector
        _narrow_rows(address + row * step, step, min(rows, LANES), width, pixel, channels, across, work, row)
        begin += LANES
    _finish(down, work, across.first.size, out, unit, x, y)


@_kernel
def from_nv12(
    luma, light_step, chroma, colour_step, top, rows, width, matrix, across, down, work, out, unit, x, y
):
    """The same of NV12, from its row ``top`` on; ``luma`` and ``chroma`` are the addresses of row 0.

    width: even, ``TILE`` at least. matrix: int32 (5,).
    """
    channels = (0, width, 2 * width)
    begin = 0
    while begin < rows:
        row = max(min(begin, rows - LANES), 0)
        for i in range(min(rows, LANES)):
            light = luma + (top + row + i) * light_step
            colour = chroma + (top + row + i) // 2 * colour_step
            done = 0
            while done < width:
                j = min(done, width - TILE)
                coloured(light + j, colour + j, matrix, work.rows, 3 * width * i + j, width)
                done += TILE
        address = work.rows.ctypes.data
        _narrow_rows(address, 3 * width, min(rows, LANES), 3 * width, 1, channels, across, work, row)
        begin += LANES
    _finish(down, work, across.first.size, out, unit, x, y)


@_kernel
def _narrow_rows(address, step, rows, width, pixel, channels, across, work, row):
    """At most ``LANES`` rows along their length, to ``work.narrow`` from its row ``row`` on."""
    pitch = work.pitch
    if rows < LANES or width < TILE:
        for j in range(width):
            for i in range(rows):
                work.columns[j * LANES + i] = byte_at(address + i * step + j)
    else:
        for i in range(0, LANES, TILE):
            done = 0
            while done < width:
                j = min(done, width - TILE)
                turn(address + i * step + j, step, work.columns, j * LANES + i, LANES)
                done += TILE
    for c in range(3):
        for n in range(across.first.size):
            start = (across.first[n] * pixel + channels[c]) * LANES
            weighted(
                work.columns, start, pixel * LANES, across.weights, n * across.reach, across.count[n],
                work.turned, (c * pitch + n) * LANES,
            )  # fmt: skip
    for i in range(0, LANES, TILE):
        for n in range(0, 3 * pitch, TILE):
            address = work.turned.ctypes.data + n * LANES + i
            turn(address, LANES, work.narrow, (row + i) * 3 * pitch + n, 3 * pitch)


@_kernel
def _finish(down, work, wide, out, unit, x, y):
    """Narrow rows along their columns, to planes."""
    pitch = work.pitch
    for i in range(down.first.size):
        for n in range(0, 3 * pitch, LANES):
            start = down.first[i] * 3 * pitch + n
            weighted(work.narrow, start, 3 * pitch, down.weights, i * down.reach, down.count[i], work.line, n)
        for c in range(3):
            _write(work.line[c * pitch : c * pitch + wide], unit, out[c, y + i, x : x + wide])


@_kernel
def _write(levels, unit, out):
    """Levels times ``unit``, of the type that ``out`` holds."""
    for n in range(levels.size):
        out[n] = levels[n] * unit
