"""An exact network -> ONNX file, compared with its NumPy definition. Without torch.

The graph is written for speed, and for engines that are exact only to less than 0.5 of a sum (Winograd, FFT).
Let n be the exact sum, |e| < 0.5 an engine's error and s the shift; then ``floor(n / 2**s)`` is

    floor((n + e + 0.5) / 2**s)                      without a leak: n < n + e + 0.5 < n + 1
    floor(leaky_relu(round(n + e)) / 2**s)           with one: 5 n / 2**9 needs n itself

Without a leak the weights are scaled by 2**-s, which float32 does exactly, and the 0.5 is in the bias. All
partial sums are then multiples of 2**-(s + 1) below 2**(21 - s): 22 bits, exact in any order. A leak is
``max(floor(v), floor(5 v / 2**9))``: the floor of the larger one, which is LeakyRelu's, in 23 bits. Limits
are whole numbers, so they may come before the floor as well as after it: engines fuse them with the sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.errors import GraphError
from export.graphs.onnx_file import OPSET, save, store_in_half
from runtime.prior.exact import ACCUMULATOR_LIMIT, LEAK, IntegerNetwork, Layer


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


BLOCK = 16
"""ONNX Runtime's CPU convolutions fill up their input channels to a multiple of so many with AVX-512."""

Shape = tuple[int, ...]


def write_integer_network(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    """An exact network as a float32 graph whose activations are whole numbers; see ``runtime.prior.exact``.

    ``IntegerNetwork`` has asserted the bound on its accumulators. Raises GraphError when the graph differs
    from the NumPy definition anywhere on random inputs.
    """
    writer = _Writer()
    value, a = "z", np.zeros(shape, dtype=np.int32)
    for number, layer in enumerate(network.layers):
        writer.prefix = f"h_s.{number}"
        size, a = a.shape, layer(a)
        value = writer.sums(layer, value)
        if layer.transposed:
            value = writer.taken_in_turns(layer, value, size, a.shape)
        if layer.leaky:
            value = writer.leaked(layer, value)
        if network.rungs is None or layer is not network.layers[-1]:
            value = writer.node("Floor", value)
    if network.rungs is not None:
        writer.look_up(network.rungs, value, a.shape)
    writer.nodes[-1].output[0] = "parameters"
    graph = helper.make_graph(
        writer.nodes,
        "h_s",
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("parameters", onnx.TensorProto.FLOAT, (1, *a.shape))],
        writer.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    save(store_in_half(model), path)
    _compare_integers(network, shape, path)


class _Writer:
    """Nodes and constants of a graph. Methods add to them and return the name of what they made.

    prefix: of the names that are added.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.prefix = ""

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        output = f"{self.prefix}.{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: ArrayLike, dtype: Any = np.float32) -> str:
        """A constant."""
        name = f"{self.prefix}.{name}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def sums(self, layer: Layer, value: str) -> str:
        """The sums of a layer, in phases where it is transposed: as they are where it leaks, or else scaled,
        with the 0.5, and clipped.
        """
        weight, bias, scale = layer.weight, layer.bias.astype(np.float64), _scale(layer)
        geometry: dict[str, Any] = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        if layer.transposed:
            convolution = phases(layer)
            weight = convolution.weight
            bias, scale = (of_phases(values, layer.stride) for values in (bias, scale))
            geometry = {"pads": [convolution.before] * 2 + [convolution.after] * 2}
        if not layer.leaky:
            weight, bias = weight * scale[:, None, None, None], (bias + 0.5) * scale
        value = self._convolution(value, weight, bias, **geometry)
        return value if layer.leaky else self._clipped(layer, value)

    def leaked(self, layer: Layer, sums: str) -> str:
        """What a leaky layer makes of its sums before the floor."""
        value = self.node("LeakyRelu", self.node("Round", sums), alpha=LEAK[0] / 2 ** LEAK[1])
        scale = self.constant("scale", _scale(layer)[:, None, None])
        return self._clipped(layer, self.node("Mul", value, scale))

    def taken_in_turns(self, layer: Layer, value: str, size: Shape, out: Shape) -> str:
        """The outputs (1, *out) of a transposed layer from its phases on inputs of ``size``.

        Not by DepthToSpace, which takes ONNX Runtime 2.5 times as long.
        """
        convolution, stride, channels = phases(layer), layer.stride, out[0]
        height, width = (n + convolution.reach for n in size[1:])
        value = self._reshaped("columns", value, (stride, channels * stride * height * width))
        value = self.node("Transpose", value, perm=[1, 0])
        value = self._reshaped("rows", value, (channels, stride, height, width * stride))
        value = self.node("Transpose", value, perm=[0, 2, 1, 3])
        value = self._reshaped("turns", value, (1, channels, height * stride, width * stride))
        ends = self.constant("ends", out[1:], np.int64)
        starts, axes = self.constant("starts", (0, 0), np.int64), self.constant("axes", (2, 3), np.int64)
        return self.node("Slice", value, starts, ends, axes)

    def look_up(self, rungs: NDArray[np.int32], value: str, shape: Shape) -> None:
        """The first half of the channels, scales before their floor -> indices; the floor of the means.

        Limits first: then a cast to integers is the floor. Not by Gather, which copies each number as if it
        were a row: ONNX Runtime takes 9 times as long for it.
        """
        self.prefix = "rungs"
        low, high = self.constant("low", 0), self.constant("high", len(rungs) - 1)
        self.nodes.append(helper.make_node("Split", [value], ["scale", "mean"], axis=1, num_outputs=2))
        rung = self.node("Cast", self.node("Clip", "scale", low, high), to=onnx.TensorProto.INT32)
        line = self._reshaped("line", rung, (-1,))
        index = self.node("GatherElements", self.constant("table", rungs), line, axis=0)
        index = self._reshaped("indices", index, (1, shape[0] // 2, *shape[1:]))
        self.node("Concat", index, self.node("Floor", "mean"), axis=1)

    def _convolution(self, value: str, weight: NDArray[Any], bias: NDArray[Any], **geometry: Any) -> str:
        """A convolution, input channels beyond whole blocks on their own: 24 then take three quarters of the
        time of 32. That is not worth two more operations to a 1x1 kernel.
        """
        size, kernel = weight.shape[1:3]
        whole = size - size % BLOCK
        offset = self.constant("bias", bias)
        if whole in (0, size) or kernel == 1:
            return self.node("Conv", value, self.constant("weight", weight), offset, **geometry)
        blocks, rest = f"{self.prefix}.blocks", f"{self.prefix}.rest"
        sizes = self.constant("sizes", (whole, size - whole), np.int64)
        self.nodes.append(helper.make_node("Split", [value, sizes], [blocks, rest], axis=1))
        of_blocks = self.constant("weight", weight[:, :whole])
        of_rest = self.constant("weight_of_rest", weight[:, whole:])
        added = self.node("Conv", rest, of_rest, **geometry)
        return self.node("Add", self.node("Conv", blocks, of_blocks, offset, **geometry), added)

    def _clipped(self, layer: Layer, value: str) -> str:
        if layer.low <= -ACCUMULATOR_LIMIT and layer.high >= ACCUMULATOR_LIMIT:
            return value  # no sum is so large
        return self.node("Clip", value, self.constant("low", layer.low), self.constant("high", layer.high))

    def _reshaped(self, name: str, value: str, shape: Shape) -> str:
        return self.node("Reshape", value, self.constant(name, shape, np.int64))


def _scale(layer: Layer) -> NDArray[np.float64]:
    """2**-shift of each channel."""
    return np.exp2(-np.broadcast_to(layer.shift, layer.bias.shape).astype(np.float64))


def _compare_integers(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.integers(-127, 128, shape, dtype=np.int32)
        (actual,) = session.run(None, {"z": z[None].astype(np.float32)})
        if not np.array_equal(actual[0].astype(np.int32), network(z)):
            raise GraphError(f"{path.name}: the graph differs from its NumPy definition")
