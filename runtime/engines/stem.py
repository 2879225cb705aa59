"""The paper's heads on a CPU: their first convolution and its GDN in one pass over the pixels.

    image - mean -> convolution, 5 x 5, stride 2 -> x / (beta + gamma |x|) -> the rest, on ONNX Runtime

ONNX Runtime computes in a blocked layout, in which it has no Abs and no Div. So it changes the layout of the
head's largest tensor, 5 MB, four times here, and walks through it twice more: two thirds of the time is
memory. ``runtime.engines.stem_kernel`` keeps a few pixels of all channels in the first-level cache from the
image to the quotient. This GDN, with |x| and no root, is that of Johnston et al. 2019 (CompressAI's GDN1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.cpu.bands import aligned_zeros
from native_denoise.cpu.simd import LANES
from native_denoise.cpu.threads import available, share
from runtime.engines import Engine
from runtime.engines.onnx_file import FLOAT, attributes, floats, parse, shape_of
from runtime.engines.stem_kernel import BLOCK, lay_out, stem
from runtime.engines.tile import ROWS
from runtime.errors import EngineError

OPERATIONS = ("Sub", "Conv", "Abs", "Conv", "Div")
KERNEL, STRIDE = 5, 2
PADDING = KERNEL // 2

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Stem:
    """What a head begins with.

    name: of the input.
    side: of the image, in pixels.
    mean: float32 (c,), subtracted from each channel before zeros are put around it.
    weights: float32 (C, c, 5, 5). gamma: float32 (C, C). beta: float32 (C,).
    rest: ONNX file of what follows; its one input is what the stem returns, float32 (1, C, side/2, side/2).
    """

    name: str
    side: int
    mean: Array
    weights: Array
    gamma: Array
    beta: Array
    rest: bytes


def find_stem(model: bytes) -> Stem | None:
    """The stem of an ONNX file; None where it does not begin with one, or with one of another shape.

    Raises EngineError for what is no ONNX file.
    """
    parsed = parse(model)
    graph = parsed.graph
    nodes, tensors = list(graph.node[:5]), {tensor.name: tensor for tensor in graph.initializer}
    if tuple(node.op_type for node in nodes) != OPERATIONS or not _are_a_stem(graph, *nodes):
        return None
    subtract, convolve, _, norm, divide = nodes
    shape = shape_of(graph.input[0])
    names = (subtract.input[1], convolve.input[1], norm.input[1], norm.input[2])
    found = [floats(tensors[name]) if name in tensors else None for name in names]
    if any(values is None for values in found):
        return None
    mean, weights, gamma, beta = (values for values in found if values is not None)
    if not _fits(shape, mean, weights, gamma, beta):
        return None
    channels, half = len(beta), shape[2] // STRIDE
    rest = _rest(parsed, divide.output[0], (1, channels, half, half))
    gamma = gamma.reshape(channels, channels)
    return Stem(subtract.input[0], shape[2], mean.reshape(-1), weights, gamma, beta, rest)


class Stemmed:
    """An engine: a stem, and another engine for the rest. Not thread-safe: a buffer is used again.

    Args:
        stem: as ``find_stem`` finds it.
        rest: runs ``stem.rest``.
        threads: of the stem; None: as many as there are cores.
    """

    device = "CPU"
    precision = "float32"

    def __init__(self, stem: Stem, rest: Engine, threads: int | None):
        channels, half = len(stem.beta), stem.side // STRIDE
        self.inputs: tuple[tuple[str, tuple[int, ...]], ...] = (
            (stem.name, (1, len(stem.mean), stem.side, stem.side)),
        )
        self.outputs = rest.outputs
        self._rest, self._half, self._mean = rest, half, stem.mean
        self._threads = min(threads or available(), half // ROWS)
        # The padded image, its columns of even and of odd number apart: a stride of 2 becomes one of 1.
        shape = (len(stem.mean), stem.side + 2 * PADDING, STRIDE, half + LANES)
        self._planes = aligned_zeros(int(np.prod(shape))).reshape(shape)
        strides = [stride // 4 for stride in self._planes.strides]
        self._offsets = np.array(
            [
                c * strides[0] + row * strides[1] + column % STRIDE * strides[2] + column // STRIDE
                for c in range(shape[0])
                for row in range(KERNEL)
                for column in range(KERNEL)
            ]
        )
        self._weights = _blocks(stem.weights.reshape(channels, -1))
        self._gamma, self._beta = _blocks(stem.gamma), stem.beta
        self._scratch = [aligned_zeros(ROWS * channels * LANES) for _ in range(self._threads)]
        # Aligned: a vector that lies in two cache lines costs as much to write as to compute.
        self._out = aligned_zeros(channels * half * half).reshape(1, channels, half, half)

    def run(self, *inputs: Array) -> list[Array]:
        """Run once; see ``Engine.run``."""
        shapes = [array.shape for array in inputs]
        if shapes != [shape for _, shape in self.inputs]:
            raise EngineError(f"the graph takes {self.inputs}, not arrays of {shapes}")
        lay_out(inputs[0][0], self._mean, self._planes, PADDING)
        share(self._rows, self._threads)
        return self._rest.run(self._out)

    def warm_up(self) -> None:
        """Run once on zeros."""
        self.run(*(np.zeros(shape, dtype=np.float32) for _, shape in self.inputs))

    def _rows(self, thread: int) -> None:
        pairs = self._half // ROWS
        first, last = (ROWS * (pairs * n // self._threads) for n in (thread, thread + 1))
        step = STRIDE * self._planes.strides[1] // 4
        stem(
            self._planes.reshape(-1), self._offsets, step, self._weights, self._gamma, self._beta,
            self._scratch[thread], self._out.reshape(-1), self._half, first, last,
        )  # fmt: skip


def _are_a_stem(graph: Any, subtract: Any, convolve: Any, magnitude: Any, norm: Any, divide: Any) -> bool:
    """Whether these nodes take the graph's one input and each other's results, which nobody else wants."""
    if len(graph.input) != 1 or [len(n.input) for n in (subtract, convolve, norm)] != [2, 2, 3]:
        return False
    x = convolve.output[0]
    shown = {value.name for value in graph.output}
    used = {name for node in graph.node[5:] for name in node.input}
    inside = {name for node in (subtract, convolve, magnitude, norm) for name in node.output}
    return (
        subtract.input[0] == graph.input[0].name
        and convolve.input[0] == subtract.output[0]
        and list(magnitude.input) == [x]
        and norm.input[0] == magnitude.output[0]
        and list(divide.input) == [x, norm.output[0]]
        and not inside & used
        and not (inside | set(divide.output)) & shown
        and _is_convolution(convolve, STRIDE, PADDING)
        and _is_convolution(norm, 1, 0)
    )


def _is_convolution(node: Any, stride: int, padding: int) -> bool:
    """Whether a Conv has these, on both axes, and is otherwise as plain as can be."""
    plain: dict[str, Any] = {"auto_pad": b"NOTSET", "group": 1, "dilations": [1, 1]}
    wanted = plain | {"strides": [stride] * 2, "pads": [padding] * 4}
    given = {"strides": [1, 1], "pads": [0] * 4} | attributes(node)
    given.pop("kernel_shape", None)  # that of its weights
    return plain | given == wanted


def _fits(shape: Sequence[int], mean: Array, weights: Array, gamma: Array, beta: Array) -> bool:
    """Whether the kernel has a row of whole vectors, an even number of them, and blocks of channels."""
    if len(shape) != 4 or shape[0] != 1 or shape[2] != shape[3] or shape[2] == 0:
        return False
    c, side, channels = shape[1], shape[2], len(beta)
    even = side % (STRIDE * ROWS) == 0 and side // STRIDE % LANES == 0 and channels % BLOCK == 0
    shapes = mean.shape, weights.shape, gamma.shape
    return even and shapes == ((1, c, 1, 1), (channels, c, KERNEL, KERNEL), (channels, channels, 1, 1))


def _blocks(matrix: Array) -> Array:
    """(C, n) as BLOCK rows after the other, and in each of them column by column, flat."""
    channels, count = matrix.shape
    return matrix.reshape(channels // BLOCK, BLOCK, count).transpose(0, 2, 1).reshape(-1).copy()


def _rest(parsed: Any, name: str, shape: tuple[int, ...]) -> bytes:
    graph = parsed.graph
    del graph.node[:5], graph.value_info[:]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    (given,) = graph.input
    given.name, tensor_type = name, given.type.tensor_type
    assert tensor_type.elem_type == FLOAT
    for dimension, size in zip(tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = size
    rest: bytes = parsed.SerializeToString()
    return rest
