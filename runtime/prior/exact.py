"""Integer networks: arithmetic that no machine can round differently.

The usual failure of a hyperprior is that h_s rounds differently on two machines, so that they disagree on
one scale and lose sync. Here every value is an integer: weights and activations are at most 127 in
magnitude, and every partial sum stays below 2**20, so float32 engines compute it exactly in any order. A
``Round`` in the graph repairs algorithms that are exact only to 0.5 (Winograd, FFT).

This NumPy int32 implementation is the definition; export writes the same network as a graph, and every
engine must equal it bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError

MAGNITUDE = 127
"""Largest magnitude of weights, inputs and hidden activations."""

ACCUMULATOR_LIMIT = 1 << 20
"""No partial sum may reach it: float32 is exact to 2**24, which leaves 4 bits for reordered algorithms."""

LEAK = (5, 9)
"""A leaky layer gives what is negative times 5 / 2**9, the nearest to 0.01 that keeps sums below 2**24."""

MOST_LAYERS, MOST_WEIGHTS, MOST_KERNEL, MOST_STRIDE = 16, 1 << 22, 16, 8
"""Bounds of a network, checked before anything is computed with it."""

MOST_VALUES = 1 << 23
"""Values that a layer may return: a table and a mean of each symbol."""

MOST_RUNGS = 1 << 16

_FIELDS = ("transposed", "stride", "padding", "output_padding", "shift", "low", "high", "leaky")


@dataclass(frozen=True)
class Layer:
    """clamp(floor((convolution(a) + bias) / 2**shift), low, high).

    Attributes:
        weight: int32, (out, in, k, k); of a transposed convolution (in, out, k, k), as torch has it.
        bias: int32, (out,).
        shift: 0 .. 20; one for all channels, or int32 (out,), so that each row of weights uses its 8 bits.
        leaky: what is negative comes as floor(5 (convolution(a) + bias) / 2**(shift + 9)): LeakyReLU.
    """

    weight: NDArray[np.int32]
    bias: NDArray[np.int32]
    transposed: bool
    stride: int
    padding: int
    output_padding: int
    shift: int | NDArray[np.int32]
    low: int
    high: int
    leaky: bool = False

    def __call__(self, a: NDArray[np.int32]) -> NDArray[np.int32]:
        """int32 (in, H, W) -> int32 (out, H', W')."""
        sums = self._transposed(a) if self.transposed else self._convolution(a)
        sums = sums + self.bias[:, None, None]
        shift = np.asarray(self.shift, dtype=np.int32).reshape(-1, 1, 1)
        values = sums >> shift
        if self.leaky:
            values = np.maximum(values, sums * LEAK[0] >> shift + LEAK[1])
        return np.clip(values, self.low, self.high)

    def _convolution(self, a: NDArray[np.int32]) -> NDArray[np.int32]:
        k, s, p = self.weight.shape[2], self.stride, self.padding
        padded = np.pad(a, ((0, 0), (p, p), (p, p)))
        height, width = map(self.side, a.shape[1:])
        out = np.zeros((self.weight.shape[0], height, width), dtype=np.int32)
        for row in range(k):
            for column in range(k):
                seen = padded[:, row : row + s * height : s, column : column + s * width : s]
                out += _mix(self.weight[:, :, row, column], seen[:, :height, :width])
        return out

    def _transposed(self, a: NDArray[np.int32]) -> NDArray[np.int32]:
        k, s, p = self.weight.shape[2], self.stride, self.padding
        _, rows, columns = a.shape
        reach = k + self.output_padding - s
        spread = np.zeros((self.weight.shape[1], rows * s + reach, columns * s + reach), dtype=np.int32)
        for row in range(k):
            for column in range(k):
                target = spread[:, row : row + s * rows : s, column : column + s * columns : s]
                target[:, :rows, :columns] += _mix(self.weight[:, :, row, column].T, a)
        height, width = map(self.side, (rows, columns))
        return spread[:, p : p + height, p : p + width]

    def side(self, side: int) -> int:
        """Rows, or columns, of what it returns for so many."""
        k, s, p = self.weight.shape[2], self.stride, self.padding
        return (
            (side - 1) * s - 2 * p + k + self.output_padding
            if self.transposed
            else (side + 2 * p - k) // s + 1
        )

    @property
    def channels(self) -> tuple[int, int]:
        """Channels that it takes, and those that it returns."""
        first, second = self.weight.shape[:2]
        return (first, second) if self.transposed else (second, first)

    def largest_sum(self) -> int:
        """Bound on the magnitude of every partial sum, for inputs of magnitude ``MAGNITUDE``."""
        axes = (0, 2, 3) if self.transposed else (1, 2, 3)
        absolute = np.abs(self.weight.astype(np.int64)).sum(axis=axes)
        return int((absolute * MAGNITUDE + np.abs(self.bias.astype(np.int64))).max())


def _mix(weight: NDArray[np.int32], a: NDArray[np.int32]) -> NDArray[np.int32]:
    """(out, in) x (in, H, W) -> (out, H, W), exactly.

    Integers below 2**53 in float64 are exact in any order too, and BLAS is 30 times faster at it.
    """
    mixed = weight.astype(np.float64) @ a.reshape(len(a), -1).astype(np.float64)
    return mixed.astype(np.int32).reshape(-1, *a.shape[1:])


@dataclass(frozen=True)
class IntegerNetwork:
    """A chain of integer layers. Raises BundleError when its sums could leave exact arithmetic.

    rungs: int32 (n,), n >= 2: where given, the first half of the last layer's channels are scales and not
        yet table indices: index = rungs[clip(scale, 0, n - 1)]. A look-up is as exact as an integer sum.
    """

    layers: tuple[Layer, ...]
    rungs: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MOST_LAYERS:
            raise BundleError(f"{len(self.layers)} layers; an exact h_s has 1 to {MOST_LAYERS}")
        if sum(layer.weight.size for layer in self.layers) > MOST_WEIGHTS:
            raise BundleError(f"an exact h_s has at most {MOST_WEIGHTS:,} weights")
        for number, layer in enumerate(self.layers):
            try:
                _check_geometry(layer)
                _check_arithmetic(layer, hidden=number < len(self.layers) - 1)
            except BundleError as error:
                raise BundleError(f"layer {number}: {error}") from None
        for number, (one, other) in enumerate(pairwise(self.layers)):
            if one.channels[1] != other.channels[0]:
                raise BundleError(
                    f"layer {number} returns {one.channels[1]} channels, the next takes {other.channels[0]}"
                )
        if self.rungs is None:
            return
        if self.rungs.ndim != 1 or not 2 <= len(self.rungs) <= MOST_RUNGS:
            raise BundleError(f"2 to {MOST_RUNGS:,} rungs are needed to look scales up")
        if self.rungs.min() < 0 or self.rungs.max() >= MOST_RUNGS or self.layers[-1].channels[1] % 2:
            raise BundleError(f"rungs are tables, 0 to {MOST_RUNGS - 1:,}, of the first half of the channels")

    def shape(self, z: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of what it returns for a z of this shape. Raises BundleError where it cannot take it."""
        channels, height, width = z
        for number, layer in enumerate(self.layers):
            if layer.channels[0] != channels:
                raise BundleError(f"layer {number} takes {layer.channels[0]} channels, not {channels}")
            channels, height, width = layer.channels[1], layer.side(height), layer.side(width)
            if min(height, width) < 1 or channels * height * width > MOST_VALUES:
                raise BundleError(f"layer {number} would return the shape {(channels, height, width)}")
        return channels, height, width

    def __call__(self, z: NDArray[np.int32]) -> NDArray[np.int32]:
        """int32 (C, H, W), clamped to +-127 -> int32 (C', H', W')."""
        a = np.clip(z, -MAGNITUDE, MAGNITUDE)
        for layer in self.layers:
            a = layer(a)
        if self.rungs is None:
            return a
        scale, mean = np.split(a, 2)
        return np.concatenate([self.rungs[np.clip(scale, 0, len(self.rungs) - 1)], mean])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays for an npz file; no pickle."""
        arrays: dict[str, NDArray[Any]] = {}
        for number, layer in enumerate(self.layers):
            arrays[f"h_s.{number}.weight"] = layer.weight.astype(np.int8)
            arrays[f"h_s.{number}.bias"] = layer.bias
            single = np.ndim(layer.shift) == 0
            geometry = asdict(layer) | ({} if single else {"shift": 0})
            arrays[f"h_s.{number}.geometry"] = np.array([geometry[f] for f in _FIELDS], dtype=np.int32)
            if not single:
                arrays[f"h_s.{number}.shift"] = np.asarray(layer.shift, dtype=np.int32)
        if self.rungs is not None:
            arrays["h_s.rungs"] = self.rungs
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> IntegerNetwork:
        """Inverse of ``to_arrays``. Raises BundleError for anything that it cannot have made."""
        count = sum(name.startswith("h_s.") and name.endswith(".weight") for name in arrays)
        try:
            layers = tuple(_layer(arrays, f"h_s.{number}") for number in range(count))
            rungs = _integers(arrays, "h_s.rungs", 1, MOST_RUNGS) if "h_s.rungs" in arrays else None
            return cls(layers, rungs)
        except (KeyError, ValueError) as error:
            raise BundleError(f"integer network cannot be read: {error}") from error


def _layer(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Layer:
    values = [int(v) for v in _integers(arrays, f"{prefix}.geometry", 1, len(_FIELDS))]
    if len(values) == len(_FIELDS) - 1:  # as bundles before leaky layers have it
        values.append(0)
    geometry: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    if f"{prefix}.shift" in arrays:
        geometry["shift"] = _integers(arrays, f"{prefix}.shift", 1, MOST_WEIGHTS)
    if not {geometry["transposed"], geometry["leaky"]} <= {0, 1}:
        raise ValueError(f"{prefix}.geometry: transposed and leaky are 0 or 1")
    geometry["leaky"] = bool(geometry["leaky"])
    return Layer(
        weight=_integers(arrays, f"{prefix}.weight", 4, MOST_WEIGHTS),
        bias=_integers(arrays, f"{prefix}.bias", 1, MOST_WEIGHTS),
        transposed=bool(geometry.pop("transposed")),
        **geometry,
    )


def _integers(arrays: Mapping[str, NDArray[Any]], name: str, axes: int, most: int) -> NDArray[np.int32]:
    """An array of integers as int32. Raises KeyError when it is missing, ValueError for another one."""
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.ndim != axes or not 1 <= array.size <= most:
        raise ValueError(f"{name} is {array.dtype} {array.shape}; it must hold 1 to {most:,} integers")
    if array.min() < -(1 << 31) or array.max() >= 1 << 31:
        raise ValueError(f"{name} has integers beyond 32 bits")
    return array.astype(np.int32)


def _check_geometry(layer: Layer) -> None:
    kernel = layer.weight.shape[2:]
    if layer.weight.ndim != 4 or 0 in layer.weight.shape or kernel[0] != kernel[1]:
        raise BundleError(f"weights of the shape {layer.weight.shape}")
    if layer.bias.shape != (layer.channels[1],):
        raise BundleError(f"{layer.bias.size} biases for {layer.channels[1]} channels")
    if not (kernel[0] <= MOST_KERNEL and 1 <= layer.stride <= MOST_STRIDE):
        raise BundleError(f"a kernel of {kernel[0]} and a stride of {layer.stride}")
    if not 0 <= layer.padding <= kernel[0]:
        raise BundleError(f"a padding of {layer.padding} with a kernel of {kernel[0]}")
    if not 0 <= layer.output_padding < (layer.stride if layer.transposed else 1):
        raise BundleError(f"an output padding of {layer.output_padding} with a stride of {layer.stride}")


def _check_arithmetic(layer: Layer, hidden: bool) -> None:
    """That every value stays exact."""
    if layer.weight.min() < -MAGNITUDE or layer.weight.max() > MAGNITUDE:
        raise BundleError(f"a weight is larger than {MAGNITUDE}")
    if hidden and not -MAGNITUDE <= layer.low <= layer.high <= MAGNITUDE:
        raise BundleError(f"activations may exceed {MAGNITUDE}")
    if not -ACCUMULATOR_LIMIT <= layer.low <= layer.high <= ACCUMULATOR_LIMIT:
        raise BundleError(f"its limits are {layer.low} and {layer.high}")
    if layer.largest_sum() >= ACCUMULATOR_LIMIT:
        raise BundleError(f"sums may reach {layer.largest_sum()}, not below 2**20")
    if not (np.min(layer.shift) >= 0 and np.max(layer.shift) <= 20):
        raise BundleError("a shift is not in 0 .. 20")
    if np.ndim(layer.shift) and np.shape(layer.shift) != layer.bias.shape:
        raise BundleError(f"{np.size(layer.shift)} shifts for {layer.bias.size} channels")
