# mypy: disable-error-code=no-untyped-def
"""What one thread does to its bands: load, advance by some steps, add up the gap, store.

``bands`` is an int64 table with the columns named here; ``rows`` describes the planes of a band.  Several
steps of one band run as a wavefront (``waves``), so that a row is used by several steps while it is cached.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..vectors.jit import kernel
from ..vectors.simd import LANES, larger, load, smaller, splat, store
from .folded import fold, unfold
from .rows import AHEAD, DUAL_X, F, gap_row, plane_size
from .waves import descent_wave, levels_of, released_wave, repeat_border, rof_wave, stack_wave

# Columns of the table of bands: frame and stack (which planes), owned rows [TOP, BOTTOM), computed rows
# [FIRST, LAST) that include the halo, offset of the band in the work array, and whether it still has to run.
FRAME, STACK, TOP, BOTTOM, FIRST, LAST, BASE, ACTIVE = range(8)
COLUMNS = 8

RELEASED, DESCENT, ROF = 0, 1, 2
PLANES = {RELEASED: 1, DESCENT: 2, ROF: 5}
"""float32 planes in flight for each plane of the image, not counting the mask, which is one plane a frame."""


class Scales(NamedTuple):
    """What values are multiplied by, float32."""

    level: np.float32
    """Images, to lie in [0, 1]."""
    inwards: np.float32
    """Images, to be iterates."""
    outwards: np.float32
    """Iterates, to lie in [0, 1]."""
    epsilon: np.float32
    """That of `descent`, in the units of its iterates."""
    stored: np.float32
    """Values in [0, 1], to be what is stored."""
    bias: np.float32
    """What is added to them then."""


@kernel
def planes_of(mode):
    """``PLANES[mode]``, which a kernel cannot look up."""
    return 1 if mode == RELEASED else (2 if mode == DESCENT else 5)


@kernel
def folds(mode, depth):
    """Whether rows are laid out as in ``folded``, and not in their natural order."""
    return mode != ROF and depth == 1


@kernel
def run_bands(
    mode, images, out, scales, work, weights, bands, chosen, depth, stride, spare, rates, steps, last,
    measures, gaps,
):  # fmt: skip
    """Let bands [chosen[0], chosen[1]) take steps [steps[0], steps[1]), which their halo must cover.

    Step 0 loads ``images``, (N, C, H, W); ``last`` stores to ``out``, and the iterates are lost; ``measures``
    writes the gap of each band to ``gaps``.  One call for all of it: a thread that returns to Python waits
    for the other one's Python.

    ``rates`` is (iterations, 3): sigma, tau / (1 + tau) and 1 + theta times that, of `rof`.  At ``spare``
    ``work`` has what this thread may write over.
    """
    start, stop = chosen
    height, width = images.shape[2], images.shape[3]
    if steps[0] == 0:
        load_bands(mode, images, scales.inwards, work, bands, start, stop, depth, stride, spare)
    advance_bands(
        mode, work, weights, bands, start, stop, depth, height, width, stride, spare, rates, scales.epsilon,
        steps,
    )  # fmt: skip
    if measures:
        gap_of_bands(work, weights, bands, start, stop, depth, height, width, stride, gaps)
    if last:
        store_bands(mode, images, scales, work, bands, start, stop, depth, stride, spare, out)


@kernel
def load_bands(mode, images, scale, work, bands, start, stop, depth, stride, spare):
    """Fill X, F and AHEAD with ``images`` times ``scale``; clear the duals."""
    width = images.shape[3]
    planes = planes_of(mode)
    for b in range(start, stop):
        rows = bands[b, LAST] - bands[b, FIRST]
        size = plane_size(rows, stride)
        clear(work, bands[b, BASE] + DUAL_X * depth * size, (planes - DUAL_X) * depth * size)
        for channel in range(depth):
            plane = bands[b, BASE] + channel * size
            for v in range(min(planes, DUAL_X)):
                clear(work, plane + v * depth * size, stride)
            for r in range(rows):
                row = plane + (r + 1) * stride
                source = images[bands[b, FRAME], bands[b, STACK] * depth + channel, bands[b, FIRST] + r]
                lay_row(source, scale, work, row, stride, folds(mode, depth), work, spare)
                for v in range(1, min(planes, DUAL_X)):
                    copy(work, row + v * depth * size, row, stride)
                if not folds(mode, depth):
                    repeat_border(work, row + (AHEAD * depth * size if mode == ROF else 0) + width, 1, 0)


@kernel
def lay_row(source, factor, target, row, stride, folded, work, spare):
    """Lay ``source`` (W,) times ``factor`` out as the row at ``target[row]``, zero past W unless folded."""
    width = source.size
    if folded:
        convert(source, work[spare : spare + width], factor, np.float32(0.0))
        fold(work, spare, width, target, row)
    else:
        clear(target, row + stride - 2 * LANES, 2 * LANES)
        convert(source, target[row : row + width], factor, np.float32(0.0))


@kernel
def convert(source, target, scale, bias):
    """``target = source * scale + bias``; as slices, so that LLVM sees no index that might be negative."""
    for i in range(source.size):
        target[i] = source[i] * scale + bias


@kernel
def clear(work, start, length):
    """``work[start : start + length] = 0``, ``length`` a multiple of LANES, or below 1 for nothing."""
    for i in range(start, start + length, LANES):
        store(work, i, splat(np.float32(0.0)))


@kernel
def copy(work, target, source, length):
    """``work[target : target + length] = work[source : source + length]``, ``length`` as in ``clear``."""
    for i in range(0, length, LANES):
        store(work, target + i, load(work, source + i))


@kernel
def store_bands(mode, images, scales, work, bands, start, stop, depth, stride, spare, out):
    """Write the owned rows of X, clipped to [0, 1], to ``out``; X and F are lost.

    The result of `descent` is the image plus the change, so that a pixel that never moved comes back to the
    last bit.
    """
    width = out.shape[3]
    zero, one = splat(np.float32(0.0)), splat(np.float32(1.0))
    for b in range(start, stop):
        size = plane_size(bands[b, LAST] - bands[b, FIRST], stride)
        for channel in range(depth):
            frame, c = bands[b, FRAME], bands[b, STACK] * depth + channel
            for y in range(bands[b, TOP], bands[b, BOTTOM]):
                x = bands[b, BASE] + channel * size + (y - bands[b, FIRST] + 1) * stride
                f = x + F * depth * size
                if mode == DESCENT:
                    for i in range(0, stride - LANES, LANES):
                        store(work, x + i, (load(work, x + i) - load(work, f + i)) * splat(scales.outwards))
                    convert(images[frame, c, y], work[f : f + width], scales.level, np.float32(0.0))
                line = x
                if folds(mode, depth):
                    line = spare
                    unfold(work, x, width, work, line)
                for i in range(0, width, LANES):
                    value = load(work, line + i)
                    if mode == DESCENT:
                        value = value + load(work, f + i)
                    store(work, line + i, smaller(larger(value, zero), one))
                convert(work[line : line + width], out[frame, c, y], scales.stored, scales.bias)


@kernel
def advance_bands(
    mode, work, weights, bands, start, stop, depth, height, width, stride, spare, rates, epsilon, steps
):
    """Let bands [start, stop) take steps [steps[0], steps[1]); at ``spare`` are the fluxes of `descent`."""
    planes = planes_of(mode)
    for b in range(start, stop):
        if not bands[b, ACTIVE]:
            continue
        rows = bands[b, LAST] - bands[b, FIRST]
        # After n steps n rows next to a cut are stale: they need not be computed any more.
        top = 1 if bands[b, FIRST] > 0 else 0
        bottom = 1 if bands[b, LAST] < height else 0
        w = (bands[b, FRAME] * height + bands[b, FIRST]) * stride
        x = bands[b, BASE] + stride
        size = plane_size(rows, stride)
        most = levels_of(rows, stride * (planes * depth + 1))
        for done in range(steps[0], steps[1], most):
            levels = min(most, steps[1] - done)
            age = done - steps[0]
            if mode == ROF:
                rof_wave(
                    work, x, rows, depth, stride, weights, w, width, levels, age, top, bottom,
                    rates, done,
                )  # fmt: skip
            elif mode == RELEASED:
                released_wave(work, x, rows, stride, weights, w, width, levels, age, top, bottom)
            elif depth == 1:
                for level in range(levels):
                    first = min((age + level) * top, rows - 1)
                    copy(work, spare + level * stride, x + F * size + first * stride, stride)
                descent_wave(
                    work, x, rows, stride, spare, weights, w, width, levels, age, top, bottom, epsilon
                )
            else:
                clear(work, spare, levels * 2 * depth * stride)
                stack_wave(
                    work, x, rows, depth, stride, spare, weights, w, width, levels, age, top, bottom,
                    epsilon,
                )  # fmt: skip


@kernel
def gap_of_bands(work, weights, bands, start, stop, depth, height, width, stride, gaps):
    """Write the duality gap over the owned rows of each active band [start, stop) to ``gaps``, float64."""
    blocks = (width + LANES - 1) // LANES
    inner = weights.size - stride
    for b in range(start, stop):
        if not bands[b, ACTIVE]:
            continue
        size = plane_size(bands[b, LAST] - bands[b, FIRST], stride)
        gaps[b] = 0.0
        for y in range(bands[b, TOP], bands[b, BOTTOM]):
            x = bands[b, BASE] + (y - bands[b, FIRST] + 1) * stride
            w = (bands[b, FRAME] * height + y) * stride
            below = stride if y < height - 1 else 0
            gaps[b] += gap_row(work, x, size, depth, stride, below, weights, w, inner, blocks)


@kernel
def exchange_halos(work, bands, planes, depth, stride):
    """Refresh the halo rows of every active band from the neighbour that owns them."""
    for b in range(1, bands.shape[0]):
        if bands[b, TOP] == 0 or not bands[b, ACTIVE]:
            continue
        upper_size = plane_size(bands[b - 1, LAST] - bands[b - 1, FIRST], stride)
        lower_size = plane_size(bands[b, LAST] - bands[b, FIRST], stride)
        for plane in range(planes * depth):
            upper = bands[b - 1, BASE] + plane * upper_size - (bands[b - 1, FIRST] - 1) * stride
            lower = bands[b, BASE] + plane * lower_size - (bands[b, FIRST] - 1) * stride
            top, first, last = bands[b, TOP], bands[b, FIRST], bands[b - 1, LAST]
            copy(work, lower + first * stride, upper + first * stride, (top - first) * stride)
            copy(work, upper + top * stride, lower + top * stride, (last - top) * stride)


@kernel
def fill_weights(mode, masks, factor, height, width, depth, stride, weights, work, spare):
    """Lay ``masks`` times ``factor`` out as the rows of the planes are, and the row ``inner`` last.
    ``masks`` is (N, H, W) float32, or (1, 1, W) for all rows.
    """
    for row in range(weights.size // stride - 1):
        start = row * stride
        frame, y = min(row // height, masks.shape[0] - 1), min(row % height, masks.shape[1] - 1)
        if row > 0 and masks.shape[0] * masks.shape[1] == 1:
            copy(weights, start, 0, stride)
        else:
            lay_row(masks[frame, y], factor, weights, start, stride, folds(mode, depth), work, spare)
    inner = weights.size - stride
    for x in range(stride):
        weights[inner + x] = np.float32(1.0 if x < width - 1 else 0.0)
