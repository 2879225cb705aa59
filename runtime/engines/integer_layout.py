"""How a layer of an exact network lies in memory for ``integer_kernel``: its input, its phases, its weights.

A transposed layer of stride s is a plain convolution for each of its s * s phases: the rows s m + r of its
output see the weights k with (r + padding - k) % s = 0, at the rows m + (r + padding - k) / s of its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.simd import LANES
from runtime.engines.dot import BLOCK, BYTES, ZERO
from runtime.prior.exact import Layer

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """The input of a layer: words of four channels, with zeros around them for whatever the layer reads.

    stride: words in a row. before: rows above the image, and columns left of it.
    """

    groups: int
    rows: int
    stride: int
    before: int

    @property
    def plane(self) -> int:
        """Words of a group."""
        return self.rows * self.stride

    @property
    def origin(self) -> int:
        """Where the first pixel is."""
        return self.before * (self.stride + 1)

    @cached_property
    def blank(self) -> NDArray[np.int32]:
        """Zeros everywhere, flat."""
        zero = int.from_bytes([ZERO] * BYTES, "little", signed=True)
        return np.full(self.groups * self.plane, zero, dtype=np.int32)


@dataclass(frozen=True)
class Phase:
    """The outputs (step m + row, step n + column), m < height, n < width, of a layer.

    offsets: int64 (taps,), from a pixel to the words that it sums.
    weights: int32, words: blocks of BLOCK channels, in each of them tap by tap. bias: int32 (channels,).
    """

    row: int
    column: int
    height: int
    width: int
    offsets: NDArray[np.int64]
    weights: NDArray[np.int32]
    bias: NDArray[np.int32]


@dataclass(frozen=True)
class Laid:
    """A layer, laid out: its input, the shape of its output, and that in phases, each in steps of ``step``.

    shift: int32, as many as each phase has biases: the channels, filled up to whole blocks.
    """

    grid: Grid
    shape: Shape
    step: int
    phases: tuple[Phase, ...]
    shift: NDArray[np.int32]


def lay_out(layer: Layer, size: Shape) -> Laid:
    """A layer on an input (C, H, W); a plain convolution has stride 1."""
    step = layer.stride if layer.transposed else 1
    taps = [_taps(layer, residue) for residue in range(step)]
    reach = [0, *(j for residue in taps for _, j in residue)]
    before, after = -min(reach), max(reach)
    shape = _output(layer, size)
    height, width = (-(-n // step) for n in shape[1:])
    grid = Grid(
        groups=-(-size[0] // BYTES),
        rows=before + after + max(size[1], height),
        stride=before + after + max(size[2], _up(width, LANES)),
        before=before,
    )
    phases = tuple(
        Phase(
            row, column, -((row - shape[1]) // step), -((column - shape[2]) // step),
            *_sums(layer, grid, taps[row], taps[column]),
        )
        for row in range(step)
        for column in range(step)
    )  # fmt: skip
    shift = np.broadcast_to(np.asarray(layer.shift, dtype=np.int32), layer.bias.shape)
    return Laid(grid, shape, step, phases, np.resize(shift, _up(len(shift), BLOCK)))


def _output(layer: Layer, size: Shape) -> Shape:
    kernel, padding, stride = layer.weight.shape[2], layer.padding, layer.stride
    if layer.transposed:
        height, width = ((n - 1) * stride - 2 * padding + kernel + layer.output_padding for n in size[1:])
    else:
        height, width = (n + 2 * padding - kernel + 1 for n in size[1:])
    return len(layer.bias), height, width


def _taps(layer: Layer, residue: int) -> list[tuple[int, int]]:
    """(k, j) of every weight k that outputs of this residue see, and how far away the input is."""
    kernel, padding, stride = layer.weight.shape[2], layer.padding, layer.stride
    if not layer.transposed:
        return [(k, k - padding) for k in range(kernel)]
    distances = ((k, residue + padding - k) for k in range(kernel))
    return [(k, distance // stride) for k, distance in distances if distance % stride == 0]


def _sums(
    layer: Layer, grid: Grid, rows: list[tuple[int, int]], columns: list[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Offsets, weights and biases of a phase that has these taps."""
    weight = layer.weight.swapaxes(0, 1) if layer.transposed else layer.weight
    weight = weight[:, :, [k for k, _ in rows]][:, :, :, [k for k, _ in columns]]
    channels, inputs = weight.shape[:2]
    bias = layer.bias.astype(np.int64) - ZERO * weight.sum((1, 2, 3), dtype=np.int64)
    filled = np.zeros((_up(channels, BLOCK), grid.groups * BYTES, *weight.shape[2:]), dtype=np.int8)
    filled[:channels, :inputs] = weight
    words = np.ascontiguousarray(
        filled.reshape(len(filled), grid.groups, BYTES, *weight.shape[2:]).transpose(0, 1, 3, 4, 2)
    ).view("<i4")
    blocks = words.reshape(len(filled) // BLOCK, BLOCK, -1).transpose(0, 2, 1)
    offsets = np.add.outer(
        np.arange(grid.groups) * grid.plane,
        np.add.outer([j * grid.stride for _, j in rows], [j for _, j in columns]),
    )
    return (
        offsets.ravel().astype(np.int64),
        np.ascontiguousarray(blocks).ravel(),
        np.pad(bias, (0, len(filled) - channels)).astype(np.int32),
    )


def _up(count: int, unit: int) -> int:
    """The next multiple of ``unit``."""
    return -(-count // unit) * unit
